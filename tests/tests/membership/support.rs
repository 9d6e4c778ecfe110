//! What the tests of membership share.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use p2prpc::NodeBuilder;
use p2prpc::prelude::*;

#[p2p_service]
pub(crate) trait Greeter {
    /// A word of welcome.
    async fn greet(&self, name: String) -> String;
}

#[derive(Clone)]
pub(crate) struct Polite;

impl Greeter for Polite {
    async fn greet(&self, name: String) -> String {
        format!("Good day, {name}.")
    }
}

/// Longer than anything takes that has no limit of its own, on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A node that serves and listens on this machine only.
pub(crate) fn greeter() -> NodeBuilder {
    Node::builder().listen("/ip4/127.0.0.1/tcp/0").rendezvous("membership").serve(GreeterServer::new(Polite))
}

/// The same, with an identity of its own and a place that it can be restarted at.
pub(crate) fn greeter_at(seed: u64, address: &Multiaddr) -> NodeBuilder {
    let bare: Multiaddr = address.iter().take(2).collect();
    Node::builder()
        .identity(Identity::from_seed(seed))
        .listen(bare)
        .rendezvous("membership")
        .serve(GreeterServer::new(Polite))
}

pub(crate) fn address(node: &Node) -> Multiaddr {
    node.addresses().first().cloned().expect("it listens")
}

/// So many nodes; all but the first know the first only.
pub(crate) async fn swarm(n: usize) -> Vec<Node> {
    let first = greeter().start().await.expect("it starts");
    let joins = (1..n).map(|_| greeter().bootstrap([address(&first)]).start());
    let others = futures::future::join_all(joins).await;
    std::iter::once(first).chain(others.into_iter().map(|node| node.expect("it starts"))).collect()
}

/// Waits until `node` has these members and no others. How long that took.
pub(crate) async fn has_members(node: &Node, expected: &BTreeSet<PeerId>, within: Duration) -> Duration {
    let start = Instant::now();
    let mut snapshots = node.watch_members();
    let mut last = BTreeSet::new();
    let matching = async {
        while let Some(snapshot) = snapshots.next().await {
            last = snapshot.keys().copied().collect();
            if last == *expected {
                return;
            }
        }
        panic!("the node has ended");
    };
    if tokio::time::timeout(within, matching).await.is_err() {
        let missing = expected.difference(&last).count();
        let surplus = last.difference(expected).count();
        panic!("not within {within:?}: {missing} members are missing, {surplus} are too many");
    }
    start.elapsed()
}

/// Waits until all of these know all others of these, and nobody else.
pub(crate) async fn all_know_all(nodes: &[Node], within: Duration) -> Duration {
    let all: BTreeSet<PeerId> = nodes.iter().map(Node::peer_id).collect();
    let start = Instant::now();
    for node in nodes {
        let others: BTreeSet<PeerId> = all.iter().filter(|peer| **peer != node.peer_id()).copied().collect();
        has_members(node, &others, within.saturating_sub(start.elapsed())).await;
    }
    start.elapsed()
}

/// Each gets an answer from each other one.
pub(crate) async fn all_greet_all(nodes: &[Node]) {
    for node in nodes {
        let replies = GreeterClient::new(node).greet_all("Ada".into()).await;
        assert_eq!(replies.ok().count(), nodes.len() - 1, "{replies:?}");
    }
}
