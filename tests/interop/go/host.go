package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand"
	"os"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/multiformats/go-multiaddr"
)

// hostFlags say how a host is to be.
type hostFlags struct {
	key       string
	seed      int64
	transport string
	listen    string
	port      int
	raise     bool
	swarmKey  string
}

func (f *hostFlags) register(flags *flag.FlagSet) {
	flags.StringVar(&f.key, "key", "rsa", "kind of identity: rsa, ed25519, ecdsa or secp256k1")
	flags.Int64Var(&f.seed, "seed", 0, "make the identity from this number; 0 is a random one")
	flags.StringVar(&f.transport, "transport", "tcp", "listen by tcp or by quic")
	flags.StringVar(&f.listen, "listen", "127.0.0.1", "listen at this IPv4 address; none if it is empty")
	flags.IntVar(&f.port, "port", 0, "listen at this port; 0 is any free one")
	flags.BoolVar(&f.raise, "raise", false, "have no limits on streams, connections and memory")
	flags.StringVar(&f.swarmKey, "swarm-key", "", "be in the private network of the key in this file")
}

func (f *hostFlags) start() (host.Host, error) {
	key, err := f.identity()
	if err != nil {
		return nil, err
	}
	options := []libp2p.Option{libp2p.Identity(key), libp2p.DisableRelay()}
	switch {
	case f.listen == "":
		options = append(options, libp2p.NoListenAddrs)
	case f.transport == "tcp":
		options = append(options, libp2p.ListenAddrStrings(fmt.Sprintf("/ip4/%s/tcp/%d", f.listen, f.port)))
	case f.transport == "quic":
		options = append(options, libp2p.ListenAddrStrings(fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", f.listen, f.port)))
	default:
		return nil, fmt.Errorf("no transport %q", f.transport)
	}
	if f.swarmKey != "" {
		file, err := os.Open(f.swarmKey)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		key, err := pnet.DecodeV1PSK(file)
		if err != nil {
			return nil, err
		}
		options = append(options, libp2p.PrivateNetwork(key))
	}
	if f.raise {
		manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(rcmgr.InfiniteLimits))
		if err != nil {
			return nil, err
		}
		options = append(options, libp2p.ResourceManager(manager))
	}
	return libp2p.New(options...)
}

func (f *hostFlags) identity() (crypto.PrivKey, error) {
	var source io.Reader = rand.Reader
	if f.seed != 0 {
		source = mathrand.New(mathrand.NewSource(f.seed))
	}
	kinds := map[string]int{
		"rsa": crypto.RSA, "ed25519": crypto.Ed25519, "ecdsa": crypto.ECDSA, "secp256k1": crypto.Secp256k1,
	}
	kind, known := kinds[f.key]
	if !known {
		return nil, fmt.Errorf("no kind of key %q", f.key)
	}
	key, _, err := crypto.GenerateKeyPairWithReader(kind, 2048, source)
	return key, err
}

func connect(ctx context.Context, h host.Host, address string) (peer.ID, error) {
	parsed, err := multiaddr.NewMultiaddr(address)
	if err != nil {
		return "", err
	}
	info, err := peer.AddrInfoFromP2pAddr(parsed)
	if err != nil {
		return "", err
	}
	return info.ID, h.Connect(ctx, *info)
}

func addresses(h host.Host) []string {
	var all []string
	for _, address := range h.Addrs() {
		all = append(all, fmt.Sprintf("%s/p2p/%s", address, h.ID()))
	}
	return all
}
