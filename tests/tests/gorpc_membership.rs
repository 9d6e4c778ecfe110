//! A node among peers that are as Go peers are.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::identity;
use p2prpc::prelude::*;
use p2prpc::{NodeBuilder, Snapshot};
use p2prpc_tests::{GoPeer, soon};

const PROTOCOL: &str = "/p2p/rpc/tests";
const RENDEZVOUS: &str = "tests/gorpc";

#[p2p_service(gorpc = "EchoRPCAPI")]
trait EchoService {
    async fn echo(&self, cx: &Context, text: String) -> String;
}

#[derive(Clone)]
struct Echo;

impl EchoService for Echo {
    async fn echo(&self, cx: &Context, text: String) -> String {
        format!("{:?} {text}", cx.dialect())
    }
}

fn server() -> EchoServiceServer<Echo> {
    EchoServiceServer::new(Echo)
}

fn builder() -> NodeBuilder {
    Node::builder()
        .listen("/ip4/127.0.0.1/tcp/0")
        .protocol(PROTOCOL)
        .rendezvous(RENDEZVOUS)
        .rendezvous("another")
        .gorpc(true)
        .serve(server())
}

fn address(node: &Node) -> Multiaddr {
    node.addresses().first().cloned().expect("it listens")
}

/// Waits until the node has exactly these members, and gives how they are.
async fn has_members(node: &Node, expected: impl IntoIterator<Item = PeerId>) -> Snapshot {
    let expected: BTreeSet<PeerId> = expected.into_iter().collect();
    let mut members = node.watch_members();
    soon("these members", async {
        while let Some(snapshot) = members.next().await {
            if snapshot.keys().copied().collect::<BTreeSet<_>>() == expected {
                return snapshot;
            }
        }
        panic!("the node runs");
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_go_peer_is_a_member_and_is_echoed() {
    let node = builder().start().await.unwrap();
    let other = builder().bootstrap([address(&node)]).start().await.unwrap();
    // Nothing of it is in the DHT.
    let go = GoPeer::start(PROTOCOL, server(), Some(address(&node)), None).await;
    let members = has_members(&node, [go.id(), other.peer_id()]).await;
    let member = &members[&go.id()];
    assert!(member.is_in(RENDEZVOUS) && !member.is_in("another"), "{member:?}");
    assert!(member.may_serve("EchoService"));

    let client = EchoServiceClient::new(&node);
    let replies = soon("all answer", client.echo_all("hello".into())).await;
    let said: BTreeSet<_> = replies.into_iter().map(|(peer, answer)| (peer, answer.unwrap())).collect();
    let expected = [(go.id(), "Gorpc hello".to_owned()), (other.peer_id(), "Native hello".to_owned())];
    assert_eq!(said, BTreeSet::from(expected));

    let back = EchoServiceClient::new(go.handle()).peer(node.peer_id());
    assert_eq!(soon("it calls us", back.echo("and you".into())).await.unwrap(), "Gorpc and you");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_go_peer_that_is_killed_leaves_within_ten_seconds() {
    let node = builder().start().await.unwrap();
    let go = GoPeer::start(PROTOCOL, server(), Some(address(&node)), None).await;
    has_members(&node, [go.id()]).await;
    let killed = Instant::now();
    drop(go);
    has_members(&node, []).await;
    assert!(killed.elapsed() < Duration::from_secs(10), "after {:?}", killed.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_go_peer_is_found_through_the_dht() {
    let first = builder().start().await.unwrap();
    let go = GoPeer::start(PROTOCOL, server(), Some(address(&first)), Some(RENDEZVOUS)).await;
    has_members(&first, [go.id()]).await;
    let second = builder().bootstrap([address(&first)]).start().await.unwrap();
    has_members(&second, [first.peer_id(), go.id()]).await;
    let there = EchoServiceClient::new(&second).peer(go.id());
    assert_eq!(soon("it answers", there.echo("found".into())).await.unwrap(), "Gorpc found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_go_peer_is_a_bootstrap_peer() {
    let go = GoPeer::start(PROTOCOL, server(), None, None).await;
    let node = builder().bootstrap([go.address()]).start().await.unwrap();
    has_members(&node, [go.id()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_go_peer_is_no_member_of_a_node_that_does_not_speak_gorpc_or_has_another_protocol() {
    let native = builder().gorpc(false).start().await.unwrap();
    let other = builder().protocol("/p2p/rpc/other").start().await.unwrap();
    let both = builder().bootstrap([address(&native), address(&other)]).start().await.unwrap();
    let go = GoPeer::start(PROTOCOL, server(), Some(address(&native)), None).await;
    native.connect(go.address()).await.unwrap();
    other.connect(go.address()).await.unwrap();
    both.connect(go.address()).await.unwrap();
    has_members(&both, [native.peer_id(), go.id()]).await;
    has_members(&native, [both.peer_id()]).await;
    has_members(&other, []).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn go_peers_have_other_kinds_of_keys() {
    let node = builder().start().await.unwrap();
    for key in [identity::Keypair::generate_secp256k1(), identity::Keypair::generate_ecdsa()] {
        let go = GoPeer::start_as(key, PROTOCOL, server(), Some(address(&node)), None).await;
        has_members(&node, [go.id()]).await;
        let there = EchoServiceClient::new(&node).peer(go.id());
        assert_eq!(soon("it answers", there.echo("hello".into())).await.unwrap(), "Gorpc hello");
        drop(go);
        has_members(&node, []).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_go_peer_is_told_of_by_members() {
    let first = builder().start().await.unwrap();
    // Nothing of it is in the DHT, and nobody calls it.
    let go = GoPeer::start(PROTOCOL, server(), Some(address(&first)), None).await;
    has_members(&first, [go.id()]).await;
    let start = Instant::now();
    let second = builder().bootstrap([address(&first)]).start().await.unwrap();
    let third = builder().bootstrap([address(&first)]).start().await.unwrap();
    has_members(&second, [first.peer_id(), third.peer_id(), go.id()]).await;
    has_members(&third, [first.peer_id(), second.peer_id(), go.id()]).await;
    assert!(start.elapsed() < Duration::from_secs(10), "after {:?}", start.elapsed());
    drop(go);
    has_members(&second, [first.peer_id(), third.peer_id()]).await;
    has_members(&third, [first.peer_id(), second.peer_id()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_speak_gorpc_is_told_of_go_peers_and_none_the_worse() {
    let first = builder().start().await.unwrap();
    let go = GoPeer::start(PROTOCOL, server(), Some(address(&first)), None).await;
    has_members(&first, [go.id()]).await;
    let native = builder().gorpc(false).bootstrap([address(&first)]).start().await.unwrap();
    let another = builder().gorpc(false).bootstrap([address(&first)]).start().await.unwrap();
    has_members(&native, [first.peer_id(), another.peer_id()]).await;
    has_members(&another, [first.peer_id(), native.peer_id()]).await;
    let there = EchoServiceClient::new(&native).peer(another.peer_id());
    assert_eq!(soon("it answers", there.echo("hello".into())).await.unwrap(), "Native hello");
}
