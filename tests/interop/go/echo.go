package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p-gorpc"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/discovery/routing"
	"github.com/libp2p/go-libp2p/p2p/discovery/util"
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
	*out = Envelope{Message: fmt.Sprintf("Peer %s echoing: %s", e.host.ID(), in.Message)}
	return nil
}

type stringList []string

func (l *stringList) String() string { return strings.Join(*l, ",") }

func (l *stringList) Set(value string) error {
	*l = append(*l, value)
	return nil
}

func echo(ctx context.Context, args []string) error {
	var options hostFlags
	var bootstrap stringList
	flags := flag.NewFlagSet("echo", flag.ExitOnError)
	options.register(flags)
	rendezvous := flags.String("rendezvous", "ldej/echo", "meet the peers that name the same one")
	protocolID := flags.String("protocolid", "/p2p/rpc/ldej", "the application's protocol")
	flags.Var(&bootstrap, "peer", "join through this peer; can be given several times")
	if err := flags.Parse(args); err != nil {
		return err
	}
	h, err := options.start()
	if err != nil {
		return err
	}
	defer h.Close()
	fmt.Printf("Host ID: %s\n", h.ID())
	for _, address := range addresses(h) {
		fmt.Printf("Connect to me on: %s\n", address)
	}

	server := rpc.NewServer(h, protocol.ID(*protocolID))
	if err := server.Register(&EchoRPCAPI{host: h}); err != nil {
		return err
	}
	var dhtOptions []dht.Option
	if len(bootstrap) == 0 {
		dhtOptions = append(dhtOptions, dht.Mode(dht.ModeServer))
	}
	table, err := dht.New(h, dhtOptions...)
	if err != nil {
		return err
	}
	if err := table.Bootstrap(ctx); err != nil {
		return err
	}
	for _, address := range bootstrap {
		if _, err := connect(ctx, h, address); err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
	}
	go discover(ctx, h, table, *rendezvous)
	go talk(ctx, h, rpc.NewClientWithServer(h, protocol.ID(*protocolID), server))
	untilAbandoned(ctx)
	return nil
}

func discover(ctx context.Context, h host.Host, table *dht.IpfsDHT, rendezvous string) {
	discovery := routing.NewRoutingDiscovery(table)
	util.Advertise(ctx, discovery, rendezvous)
	for range time.Tick(time.Second) {
		found, err := util.FindPeers(ctx, discovery, rendezvous)
		if err != nil {
			fmt.Printf("Nobody found: %v\n", err)
			continue
		}
		for _, other := range found {
			if other.ID == h.ID() || h.Network().Connectedness(other.ID) == network.Connected {
				continue
			}
			if _, err := h.Network().DialPeer(ctx, other.ID); err == nil {
				fmt.Printf("Connected to peer %s\n", other.ID)
			}
		}
	}
}

// talk calls everyone it ever heard of, without a time-out, as the echo application does.
func talk(ctx context.Context, h host.Host, client *rpc.Client) {
	round := 0
	for range time.Tick(time.Second) {
		round++
		message := Envelope{Message: fmt.Sprintf("Message (%d): Hello from %s", round, h.ID())}
		var others []peer.ID
		for _, other := range h.Peerstore().Peers() {
			if other != h.ID() {
				others = append(others, other)
			}
		}
		contexts := make([]context.Context, len(others))
		replies := make([]Envelope, len(others))
		places := make([]any, len(others))
		for i := range others {
			contexts[i] = ctx
			places[i] = &replies[i]
		}
		failures := client.MultiCall(contexts, others, "EchoRPCAPI", "Echo", message, places)
		for i, err := range failures {
			if err != nil {
				fmt.Printf("Peer %s returned error: %v\n", others[i], err)
			} else {
				fmt.Printf("Peer %s echoed: %s\n", others[i], replies[i].Message)
			}
		}
	}
}
