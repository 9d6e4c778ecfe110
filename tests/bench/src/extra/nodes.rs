//! The nodes of p2prpc that are measured, and where they and the bare swarms listen.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use p2prpc::NodeBuilder;
use p2prpc::prelude::*;

use super::Error;

/// By what two peers talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Tcp,
    Quic,
}

impl Carrier {
    pub(super) fn name(self) -> &'static str {
        match self {
            Carrier::Tcp => "tcp",
            Carrier::Quic => "quic",
        }
    }

    pub(super) fn named(name: &str) -> Result<Self, Error> {
        [Carrier::Tcp, Carrier::Quic]
            .into_iter()
            .find(|carrier| carrier.name() == name)
            .ok_or_else(|| format!("{name} is neither tcp nor quic").into())
    }

    pub(super) fn loopback(self) -> &'static str {
        match self {
            Carrier::Tcp => "/ip4/127.0.0.1/tcp/0",
            Carrier::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        }
    }
}

/// What is called.
#[p2p_service]
pub(super) trait EchoService {
    /// The same again.
    async fn echo(&self, message: String) -> String;
}

/// Answers at once.
pub(super) struct Echo;

impl EchoService for Echo {
    async fn echo(&self, message: String) -> String {
        message
    }
}

/// Never answers.
pub(super) struct Silent;

impl EchoService for Silent {
    async fn echo(&self, _message: String) -> String {
        std::future::pending().await
    }
}

/// Whether nodes that are connected join one DHT, as they do unless they are told otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dht {
    Shared,
    /// Each has one of its own. Hundreds of nodes in one process that bootstrap one DHT dial each other for many seconds.
    Apart,
}

impl Dht {
    /// The id of the DHT's protocol.
    pub(super) fn protocol(self) -> String {
        static NODES: AtomicUsize = AtomicUsize::new(0);
        match self {
            Dht::Shared => "/bench/kad/1.0.0".into(),
            Dht::Apart => format!("/bench/{}/{}/kad/1.0.0", std::process::id(), NODES.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

fn builder(carrier: Carrier, dht: Dht) -> NodeBuilder {
    Node::builder().listen(carrier.loopback()).kad_protocol(dht.protocol())
}

/// A node that serves nothing.
pub(super) async fn client(carrier: Carrier, dht: Dht) -> Result<Node, Error> {
    Ok(builder(carrier, dht).start().await?)
}

/// A node that serves, and its address.
pub(super) async fn server(carrier: Carrier, dht: Dht, service: impl EchoService) -> Result<(Node, Multiaddr), Error> {
    let node = builder(carrier, dht).serve(EchoServiceServer::new(service)).start().await?;
    let address = address(&node)?;
    Ok((node, address))
}

/// Where a node listens.
pub(super) fn address(node: &Node) -> Result<Multiaddr, Error> {
    node.addresses().into_iter().next().ok_or_else(|| "a node listens nowhere".into())
}

/// Ends a node, and waits until its connections are closed.
pub(super) async fn end(node: Node) {
    node.shutdown(Duration::ZERO).await;
}
