package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// For a call that nothing else ends.
const patience = 30 * time.Second

// caller calls Lab at one peer.
type caller struct {
	host   host.Host
	client *rpc.Client
	there  peer.ID
	result *result
}

// result is one line of output.
type result struct {
	Case string `json:"case"`
	// What the case expected is so.
	OK bool `json:"ok"`
	// Why not.
	Failure string `json:"failure,omitempty"`
	// The error of the call that the case is about, and its kind: rpc.ErrorType, or "context".
	Error string `json:"error,omitempty"`
	Kind  string `json:"kind,omitempty"`
	// How long that call took.
	Millis int64 `json:"millis"`
}

func callCases(ctx context.Context, args []string) error {
	var options hostFlags
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	options.register(flags)
	protocolID := flags.String("protocol", "/interop", "the application's protocol")
	address := flags.String("peer", "", "the peer to call")
	names := flags.String("case", "", "the cases, with commas between them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	options.listen = ""
	h, err := options.start()
	if err != nil {
		return err
	}
	defer h.Close()
	there, err := connect(ctx, h, *address)
	if err != nil {
		return err
	}
	client := rpc.NewClient(h, protocol.ID(*protocolID))
	for _, name := range strings.Split(*names, ",") {
		run := cases[name]
		if run == nil {
			return fmt.Errorf("no case %q", name)
		}
		result := result{Case: name}
		if err := run(ctx, &caller{host: h, client: client, there: there, result: &result}); err != nil {
			result.Failure = err.Error()
		} else {
			result.OK = true
		}
		if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
			return err
		}
	}
	return nil
}

// call calls a method of Lab.
func (c *caller) call(ctx context.Context, method string, args, reply any) error {
	return c.callService(ctx, "Lab", method, args, reply)
}

// callService calls, and notes what came of it.
func (c *caller) callService(ctx context.Context, service, method string, args, reply any) error {
	ctx, done := context.WithTimeout(ctx, patience)
	defer done()
	began := time.Now()
	err := c.client.CallContext(ctx, c.there, service, method, args, reply)
	c.result.Millis = time.Since(began).Milliseconds()
	c.result.Error, c.result.Kind = "", ""
	if err != nil {
		c.result.Error, c.result.Kind = err.Error(), kind(ctx, err)
	}
	return err
}

func kind(ctx context.Context, err error) string {
	switch {
	case rpc.IsServerError(err):
		return "server"
	case rpc.IsClientError(err):
		return "client"
	case rpc.IsAuthorizationError(err):
		return "authorization"
	case ctx.Err() != nil:
		return "context"
	default:
		return "application"
	}
}
