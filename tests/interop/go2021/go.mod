module github.com/p2prpc/p2prpc/tests/interop/go2021

go 1.15

require (
	github.com/libp2p/go-libp2p v0.13.0
	github.com/libp2p/go-libp2p-core v0.8.0
	github.com/libp2p/go-libp2p-discovery v0.5.0
	github.com/libp2p/go-libp2p-gorpc v0.1.2
	github.com/libp2p/go-libp2p-kad-dht v0.11.1
	github.com/multiformats/go-multiaddr v0.3.1
)
