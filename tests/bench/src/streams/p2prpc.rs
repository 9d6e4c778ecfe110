//! p2prpc, as the README shows it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::p2prpc::prelude::*;

use super::{Error, Pair};
use crate::peers::Transport;

/// The service.
#[p2p_service]
pub trait Numbers {
    /// One answer.
    async fn echo(&self, message: String) -> String;
    /// So many items of so many bytes.
    async fn items(&self, count: u64, size: usize) -> impl Stream<Item = ::p2prpc::bytes::Bytes>;
    /// Says when it is dropped.
    async fn for_ever(&self) -> impl Stream<Item = u64>;
}

/// Serves them.
#[derive(Clone, Default)]
pub struct Service(pub Arc<tokio::sync::Notify>);

/// Tells whoever waits for the end of a handler.
struct Told(Arc<tokio::sync::Notify>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Numbers for Service {
    async fn echo(&self, message: String) -> String {
        message
    }

    async fn items(&self, count: u64, size: usize) -> impl Stream<Item = ::p2prpc::bytes::Bytes> {
        let item = ::p2prpc::bytes::Bytes::from(vec![7; size]);
        futures::stream::iter((0..count).map(move |_| item.clone()))
    }

    async fn for_ever(&self) -> impl Stream<Item = u64> {
        let told = Told(self.0.clone());
        futures::stream::iter(0..1).chain(futures::stream::pending()).map(move |item| {
            let _told = &told;
            item
        })
    }
}

/// Two nodes, and what calls one at the other.
pub struct Nodes {
    /// It calls.
    pub stub: NumbersPeer,
    /// What it serves.
    pub service: Service,
    _nodes: (Node, Node),
}

/// Two nodes that are connected; over TCP one may be far away.
pub async fn nodes(transport: Transport, far: bool) -> Result<Nodes, Error> {
    let service = Service::default();
    let server =
        Node::builder().listen(transport.loopback()).serve(NumbersServer::new(service.clone())).start().await?;
    let client = Node::builder().listen(transport.loopback()).start().await?;
    let mut address = server.addresses().into_iter().next().ok_or("the server listens nowhere")?;
    if far {
        address = super::far_away(&address).await?;
    }
    let peer = client.connect(address).await?;
    let stub = NumbersClient::new(&client).timeout(Duration::from_secs(30)).peer(peer);
    stub.echo("the first".into()).await?;
    Ok(Nodes { stub, service, _nodes: (server, client) })
}

/// Over this transport.
pub async fn pair(transport: Transport, far: bool) -> Result<Pair, Error> {
    let nodes = nodes(transport, far).await?;
    let stub = nodes.stub.clone();
    let name = if transport == Transport::Tcp { "p2prpc, TCP" } else { "p2prpc, QUIC" };
    let stream: super::Stream = Arc::new(move |count, size| {
        let mut items = stub.items(count, size);
        Box::pin(async move {
            let (mut first, mut come) = (None, 0);
            while let Some(item) = items.next().await {
                assert_eq!(item.expect("a stream of p2prpc failed").len(), size);
                come += 1;
                first.get_or_insert_with(Instant::now);
            }
            assert_eq!(come, count);
            first.expect("an item")
        })
    });
    Ok(Pair { name, stream, keep: Box::new(nodes) })
}
