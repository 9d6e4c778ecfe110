//! What the tests of nodes share.

use std::future::Future;
use std::time::Duration;

use futures::{Stream, StreamExt};
use p2prpc::prelude::*;
use p2prpc::{Direction, NodeBuilder};

/// Longer than anything here takes on a loaded machine: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node of this machine's own, on TCP.
pub(crate) fn local() -> NodeBuilder {
    Node::builder().listen("/ip4/127.0.0.1/tcp/0").rendezvous("test")
}

/// With `RUST_LOG` set, what the nodes say is shown.
pub(crate) async fn started(builder: NodeBuilder) -> Node {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    builder.start().await.expect("it starts")
}

pub(crate) fn address(node: &Node) -> Multiaddr {
    node.addresses().first().cloned().expect("it listens")
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Both know each other as members.
pub(crate) async fn met(one: &Node, other: &Node) {
    for (node, peer) in [(one, other.peer_id()), (other, one.peer_id())] {
        soon("they meet", first(node.watch_members(), |members| members.contains_key(&peer))).await;
    }
}

/// The first item that is so.
pub(crate) async fn first<S: Stream + Unpin>(mut stream: S, mut is: impl FnMut(&S::Item) -> bool) -> S::Item {
    while let Some(item) = stream.next().await {
        if is(&item) {
            return item;
        }
    }
    panic!("the stream has ended");
}

pub(crate) async fn happens(node: &Node, event: NodeEvent) {
    soon(&format!("{event:?}"), first(node.events(), |seen| *seen == event)).await;
}

/// Only these are admitted.
pub(crate) fn only(peers: impl Into<Vec<PeerId>>) -> impl Fn(&PeerId, Direction) -> bool + Send + Sync + 'static {
    let peers = peers.into();
    move |peer, _| peers.contains(peer)
}

/// What the nodes here serve.
#[p2p_service]
pub(crate) trait Workshop {
    /// The word, back again.
    async fn echo(&self, word: String) -> String;
    /// Who asks.
    async fn who(&self, cx: &Context) -> String;
    /// Answers after so many milliseconds.
    async fn rest(&self, millis: u64) -> u64;
    /// Never answers.
    async fn hang(&self);
}

pub(crate) struct Worker;

impl Workshop for Worker {
    async fn echo(&self, word: String) -> String {
        word
    }

    async fn who(&self, cx: &Context) -> String {
        cx.peer().to_string()
    }

    async fn rest(&self, millis: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        millis
    }

    async fn hang(&self) {
        std::future::pending().await
    }
}

/// A node that serves a [`Workshop`].
pub(crate) fn serving() -> NodeBuilder {
    local().serve(WorkshopServer::new(Worker))
}

pub(crate) async fn echoes(from: &Node, to: PeerId) {
    let echo = WorkshopClient::new(from).peer(to).echo("hello".into());
    assert_eq!(soon("it echoes", echo).await.unwrap(), "hello");
}
