package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"os"

	"github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

func serve(ctx context.Context, args []string) error {
	var options hostFlags
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	options.register(flags)
	protocolID := flags.String("protocol", "/interop", "the application's protocol")
	deny := flags.Bool("deny", false, "allow nobody to call")
	if err := flags.Parse(args); err != nil {
		return err
	}
	h, err := options.start()
	if err != nil {
		return err
	}
	defer h.Close()

	var serverOptions []rpc.ServerOption
	if *deny {
		serverOptions = append(serverOptions, rpc.WithAuthorizeFunc(func(peer.ID, string, string) bool { return false }))
	}
	server := rpc.NewServer(h, protocol.ID(*protocolID), serverOptions...)
	if err := server.Register(&Lab{}); err != nil {
		return err
	}
	ready := struct {
		ID        string   `json:"id"`
		Addresses []string `json:"addresses"`
	}{h.ID().String(), addresses(h)}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	untilAbandoned(ctx)
	return nil
}

// untilAbandoned returns when whoever started this program is gone.
func untilAbandoned(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}
