// Command echo2021 is a node of the echo application with the libraries of January 2021.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p-core/crypto"
	"github.com/libp2p/go-libp2p-core/host"
	"github.com/libp2p/go-libp2p-core/network"
	"github.com/libp2p/go-libp2p-core/peer"
	"github.com/libp2p/go-libp2p-core/protocol"
	discovery "github.com/libp2p/go-libp2p-discovery"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/multiformats/go-multiaddr"
)

// Envelope is what is sent and what comes back.
type Envelope struct {
	Message string
}

// EchoRPCAPI is what every node of the echo application serves.
type EchoRPCAPI struct {
	host host.Host
}

// Echo sends the message back, saying who does.
func (e *EchoRPCAPI) Echo(_ context.Context, in Envelope, out *Envelope) error {
	*out = Envelope{Message: fmt.Sprintf("Peer %s echoing: %s", e.host.ID().Pretty(), in.Message)}
	return nil
}

type stringList []string

func (l *stringList) String() string { return strings.Join(*l, ",") }

func (l *stringList) Set(value string) error {
	*l = append(*l, value)
	return nil
}

func main() {
	var bootstrap stringList
	rendezvous := flag.String("rendezvous", "ldej/echo", "meet the peers that name the same one")
	protocolID := flag.String("protocolid", "/p2p/rpc/ldej", "the application's protocol")
	listen := flag.String("listen", "127.0.0.1", "listen at this IPv4 address")
	port := flag.Int("port", 0, "listen at this port; 0 is any free one")
	flag.Var(&bootstrap, "peer", "join through this peer; can be given several times")
	flag.Parse()
	if err := run(*listen, *port, *rendezvous, protocol.ID(*protocolID), bootstrap); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(listen string, port int, rendezvous string, protocolID protocol.ID, bootstrap []string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	key, _, err := crypto.GenerateKeyPairWithReader(crypto.RSA, 2048, rand.Reader)
	if err != nil {
		return err
	}
	address := fmt.Sprintf("/ip4/%s/tcp/%d", listen, port)
	h, err := libp2p.New(ctx, libp2p.ListenAddrStrings(address), libp2p.Identity(key))
	if err != nil {
		return err
	}
	defer h.Close()
	fmt.Printf("Host ID: %s\n", h.ID().Pretty())
	for _, address := range h.Addrs() {
		fmt.Printf("Connect to me on: %s/p2p/%s\n", address, h.ID().Pretty())
	}

	server := rpc.NewServer(h, protocolID)
	if err := server.Register(&EchoRPCAPI{host: h}); err != nil {
		return err
	}
	var options []dht.Option
	if len(bootstrap) == 0 {
		options = append(options, dht.Mode(dht.ModeServer))
	}
	table, err := dht.New(ctx, h, options...)
	if err != nil {
		return err
	}
	if err := table.Bootstrap(ctx); err != nil {
		return err
	}
	for _, address := range bootstrap {
		if err := connect(ctx, h, address); err != nil {
			return err
		}
	}
	go discover(ctx, h, table, rendezvous)
	go talk(ctx, h, rpc.NewClientWithServer(h, protocolID, server))
	// Whoever started this program is gone when its stdin ends.
	var byteRead [1]byte
	for err == nil {
		_, err = os.Stdin.Read(byteRead[:])
	}
	if err == io.EOF {
		return nil
	}
	return err
}

func connect(ctx context.Context, h host.Host, address string) error {
	parsed, err := multiaddr.NewMultiaddr(address)
	if err != nil {
		return err
	}
	info, err := peer.AddrInfoFromP2pAddr(parsed)
	if err != nil {
		return err
	}
	return h.Connect(ctx, *info)
}

func discover(ctx context.Context, h host.Host, table *dht.IpfsDHT, rendezvous string) {
	routing := discovery.NewRoutingDiscovery(table)
	discovery.Advertise(ctx, routing, rendezvous)
	for range time.Tick(time.Second) {
		found, err := discovery.FindPeers(ctx, routing, rendezvous)
		if err != nil {
			fmt.Printf("Nobody found: %v\n", err)
			continue
		}
		for _, other := range found {
			if other.ID == h.ID() || h.Network().Connectedness(other.ID) == network.Connected {
				continue
			}
			if _, err := h.Network().DialPeer(ctx, other.ID); err == nil {
				fmt.Printf("Connected to peer %s\n", other.ID.Pretty())
			}
		}
	}
}

// talk calls everyone it ever heard of, without a time-out, as the echo application does.
func talk(ctx context.Context, h host.Host, client *rpc.Client) {
	round := 0
	for range time.Tick(time.Second) {
		round++
		message := Envelope{Message: fmt.Sprintf("Message (%d): Hello from %s", round, h.ID().Pretty())}
		var others []peer.ID
		for _, other := range h.Peerstore().Peers() {
			if other != h.ID() {
				others = append(others, other)
			}
		}
		contexts := make([]context.Context, len(others))
		replies := make([]Envelope, len(others))
		places := make([]interface{}, len(others))
		for i := range others {
			contexts[i] = ctx
			places[i] = &replies[i]
		}
		failures := client.MultiCall(contexts, others, "EchoRPCAPI", "Echo", message, places)
		for i, err := range failures {
			if err != nil {
				fmt.Printf("Peer %s returned error: %v\n", others[i].Pretty(), err)
			} else {
				fmt.Printf("Peer %s echoed: %s\n", others[i].Pretty(), replies[i].Message)
			}
		}
	}
}
