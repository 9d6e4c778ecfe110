package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
)

// Envelope is the message of the echo application.
type Envelope struct {
	Message string
}

// EchoRPCAPI echoes.
type EchoRPCAPI struct{}

// Echo gives the message back.
func (EchoRPCAPI) Echo(_ context.Context, in Envelope, out *Envelope) error {
	*out = in
	return nil
}

// EchoBytes gives the bytes back.
func (EchoRPCAPI) EchoBytes(_ context.Context, in []byte, out *[]byte) error {
	*out = in
	return nil
}

// startHost gives a host without limits on streams, over Noise as the Rust side.
func startHost(options ...libp2p.Option) (host.Host, error) {
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(rcmgr.InfiniteLimits))
	if err != nil {
		return nil, err
	}
	key, _, err := crypto.GenerateEd25519Key(nil)
	if err != nil {
		return nil, err
	}
	options = append(options,
		libp2p.Identity(key), libp2p.ResourceManager(manager), libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.Security(noise.ID, noise.New))
	return libp2p.New(options...)
}

func startServer(transport, protocolID string) (host.Host, error) {
	listen := map[string]string{"tcp": "/ip4/127.0.0.1/tcp/0", "quic": "/ip4/127.0.0.1/udp/0/quic-v1"}[transport]
	if listen == "" {
		return nil, fmt.Errorf("-transport wants tcp or quic, not %q", transport)
	}
	h, err := startHost(libp2p.ListenAddrStrings(listen))
	if err != nil {
		return nil, err
	}
	return h, rpc.NewServer(h, protocol.ID(protocolID)).Register(EchoRPCAPI{})
}

// client calls one peer.
type client struct {
	host  host.Host
	rpc   *rpc.Client
	there peer.ID
}

func startClient(address, protocolID string) (*client, error) {
	info, err := peer.AddrInfoFromString(address)
	if err != nil {
		return nil, err
	}
	h, err := startHost(libp2p.NoListenAddrs)
	if err != nil {
		return nil, err
	}
	if err := h.Connect(context.Background(), *info); err != nil {
		return nil, err
	}
	return &client{host: h, rpc: rpc.NewClient(h, protocol.ID(protocolID)), there: info.ID}, nil
}

func (c *client) echo(size int) func() error {
	message := Envelope{Message: strings.Repeat("x", size)}
	return func() error {
		var reply Envelope
		if err := c.rpc.Call(c.there, "EchoRPCAPI", "Echo", message, &reply); err != nil {
			return err
		}
		return sameLength(len(reply.Message), size)
	}
}

func (c *client) echoBytes(size int) func() error {
	message := make([]byte, size)
	return func() error {
		var reply []byte
		if err := c.rpc.Call(c.there, "EchoRPCAPI", "EchoBytes", message, &reply); err != nil {
			return err
		}
		return sameLength(len(reply), size)
	}
}

func sameLength(got, sent int) error {
	if got != sent {
		return fmt.Errorf("sent %d bytes, got %d", sent, got)
	}
	return nil
}

func addressOf(h host.Host) string {
	return fmt.Sprintf("%s/p2p/%s", h.Addrs()[0], h.ID())
}

func transportOf(address string) string {
	if strings.Contains(address, "/quic-v1") {
		return "quic"
	}
	return "tcp"
}

// versions of what is measured.
func versions() string {
	all := []string{runtime.Version()}
	if info, known := debug.ReadBuildInfo(); known {
		for _, module := range info.Deps {
			switch module.Path {
			case "github.com/libp2p/go-libp2p", "github.com/libp2p/go-libp2p-gorpc":
				all = append(all, module.Path[len("github.com/libp2p/"):]+" "+module.Version)
			}
		}
	}
	return strings.Join(all, ", ")
}
