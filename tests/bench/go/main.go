// Command bench measures unary echo by go-libp2p-gorpc.
//
// Both ends are in this process, unless -serve or -connect is given:
//
//	bench -transport tcp -bytes 64 -callers 64 -seconds 5
//	bench -transport tcp -serve
//	bench -connect /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW.. -bytes 64 -callers 64 -seconds 5
//
// It prints one JSON object a run. cpu_us_per_call is the processor time of this process.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	transport := flag.String("transport", "tcp", "tcp or quic")
	protocolID := flag.String("protocol", "/p2p/rpc/ldej", "the application's protocol")
	bytes := flag.Int("bytes", 64, "bytes of a message")
	bulk := flag.Bool("bulk", false, "call EchoBytes, with bare bytes, and not Echo, with a text in a struct")
	callers := flag.Int("callers", 64, "calls under way at once")
	seconds := flag.Float64("seconds", 5, "how long to measure")
	warm := flag.Float64("warm", 1, "seconds of calls before that")
	serve := flag.Bool("serve", false, "only serve, until stdin ends; prints the address")
	connect := flag.String("connect", "", "only call, this peer")
	flag.Parse()
	if *callers < 1 || *bytes < 0 {
		return fmt.Errorf("-callers wants 1 or more, -bytes 0 or more")
	}

	if *serve {
		server, err := startServer(*transport, *protocolID)
		if err != nil {
			return err
		}
		defer server.Close()
		fmt.Println(addressOf(server))
		_, err = io.Copy(io.Discard, os.Stdin)
		return err
	}
	address := *connect
	if address == "" {
		server, err := startServer(*transport, *protocolID)
		if err != nil {
			return err
		}
		defer server.Close()
		address = addressOf(server)
	}
	client, err := startClient(address, *protocolID)
	if err != nil {
		return err
	}
	defer client.host.Close()
	call := client.echo(*bytes)
	if *bulk {
		call = client.echoBytes(*bytes)
	}
	if _, err := measure(call, *callers, duration(*warm)); err != nil {
		return err
	}
	result, err := measure(call, *callers, duration(*seconds))
	if err != nil {
		return err
	}
	result.Transport, result.Bytes, result.Callers, result.Version = transportOf(address), *bytes, *callers, versions()
	return json.NewEncoder(os.Stdout).Encode(result)
}

func duration(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second))
}
