// Command interop is the Go side of the tests: peers on go-libp2p that speak go-libp2p-gorpc.
//
//	interop server   serves the service Lab and prints where, until its stdin ends
//	interop client   calls Lab at a peer, case by case, and prints a JSON line for each
//	interop echo     is a node of the echo application, with discovery
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	commands := map[string]func(context.Context, []string) error{
		"server": serve,
		"client": callCases,
		"echo":   echo,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: interop server|client|echo [flags]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := commands[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
