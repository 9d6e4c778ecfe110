//! From a builder to a node, or to an error that says what to do.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use futures::StreamExt;
use p2prpc::prelude::*;
use p2prpc::{ConnectError, NodeBuilder, Reachability, StartError};

use super::support::{address, local, soon, started};

async fn error_of(builder: NodeBuilder) -> StartError {
    builder.start().await.expect_err("it must not start")
}

/// One sentence, with the value that was wrong in it.
async fn names(builder: NodeBuilder, value: &str) -> StartError {
    let error = error_of(builder).await;
    let text = error.to_string();
    assert!(text.contains(value), "{text:?} doesn't name {value:?}");
    assert!(!text.contains('\n') && text.len() < 300, "{text:?} is more than a sentence");
    error
}

#[tokio::test]
async fn a_wrong_value_is_named() {
    let peerless = "/ip4/127.0.0.1/tcp/4001";
    names(local().listen("/ip4/127.0.0.1/tcp/99999"), "/ip4/127.0.0.1/tcp/99999").await;
    names(local().listen("/dns/localhost/tcp/0"), "/dns/localhost/tcp/0").await;
    names(local().listen("/ip4/127.0.0.1/udp/0/webrtc-direct"), "webrtc-direct").await;
    names(local().bootstrap(["nonsense"]), "nonsense").await;
    names(local().protocol("no-slash"), "no-slash").await;
    names(local().kad_protocol("no-slash"), "no-slash").await;
    names(local().rendezvous(""), "rendezvous").await;
    names(local().reachability(Reachability::Public(vec!["/ip4/0.0.0.0/tcp/1".parse().unwrap()])), "0.0.0.0").await;
    let error = names(local().bootstrap([peerless]), peerless).await;
    assert!(matches!(error, StartError::BootstrapWithoutPeerId { .. }), "{error:?}");
    let own = format!("{peerless}/p2p/{}", PeerId::random());
    names(local().listen(&own), "/p2p/").await;
}

#[tokio::test]
async fn the_first_wrong_value_is_the_one_named() {
    names(local().listen("first").rendezvous("").listen("last"), "first").await;
}

#[tokio::test]
async fn an_address_of_another_machine_can_not_be_listened_on() {
    let error = names(Node::builder().listen("/ip4/192.0.2.1/tcp/0"), "/ip4/192.0.2.1/tcp/0").await;
    assert!(matches!(error, StartError::Listen { .. }), "{error:?}");
}

#[tokio::test]
async fn a_tcp_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    names(Node::builder().listen(format!("/ip4/127.0.0.1/tcp/{port}")), &port.to_string()).await;
    names(Node::builder().listen(format!("/ip4/0.0.0.0/tcp/{port}")), "in use").await;
}

#[tokio::test]
async fn a_port_of_another_node_is_refused_and_free_again_after_it() {
    let first = started(local()).await;
    let wanted: Multiaddr = first.addresses()[0].iter().take(2).collect();
    names(Node::builder().listen(&wanted), "in use").await;
    first.shutdown(std::time::Duration::ZERO).await;
    let second = started(Node::builder().listen(&wanted)).await;
    assert_eq!(second.addresses(), [wanted.with_p2p(second.peer_id()).unwrap()]);
}

#[tokio::test]
async fn a_udp_port_in_use_is_refused() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    names(Node::builder().listen(format!("/ip4/127.0.0.1/udp/{port}/quic-v1")), "in use").await;
}

#[test]
fn without_a_runtime_it_says_so() {
    let error = futures::executor::block_on(local().start()).expect_err("it must not start");
    assert!(matches!(error, StartError::NoRuntime), "{error:?}");
}

#[tokio::test]
async fn it_listens_when_it_has_started() {
    let node = started(
        Node::builder().listen("/ip4/127.0.0.1/tcp/0").listen("/ip6/::1/tcp/0").listen("/ip4/127.0.0.1/udp/0/quic-v1"),
    )
    .await;
    let addresses = node.addresses();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    let own = format!("/p2p/{}", node.peer_id());
    assert!(addresses.iter().all(|address| address.to_string().ends_with(&own)), "{addresses:?}");
    let mut events = node.events();
    for _ in 0..3 {
        let Some(NodeEvent::Listening { address }) = events.next().await else { panic!("no address") };
        assert!(addresses.contains(&address));
    }
}

#[tokio::test]
async fn a_wildcard_is_spelled_out() {
    let node = started(Node::builder()).await;
    let addresses = node.addresses();
    assert!(!addresses.is_empty());
    assert!(addresses.iter().all(|address| !address.to_string().contains("0.0.0.0")), "{addresses:?}");
    assert!(addresses.iter().any(|address| address.to_string().starts_with("/ip4/127.0.0.1/tcp/")), "{addresses:?}");
}

#[tokio::test]
async fn its_identity_is_the_one_it_was_given() {
    let identity = Identity::from_seed(1);
    let node = started(local().identity(identity.clone())).await;
    assert_eq!(node.peer_id(), identity.peer_id());
    assert_ne!(started(local()).await.peer_id(), started(local()).await.peer_id());
}

#[tokio::test]
async fn a_handle_from_before_leads_into_the_node_once_it_runs() {
    let (builder, other) = (local(), started(local()).await);
    let handle = builder.handle();
    assert_eq!(handle.local_peer_id().unwrap_err().kind(), ErrorKind::NotStarted);
    assert_eq!(handle.events().unwrap_err().kind(), ErrorKind::NotStarted);
    let there = address(&other);
    assert!(matches!(handle.connect(there.clone()).await, Err(ConnectError::NotStarted)));
    let error = handle.add_address(other.peer_id(), there.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotStarted);

    let node = started(builder).await;
    assert_eq!(handle.local_peer_id().unwrap(), node.peer_id());
    let mut events = handle.events().unwrap();
    assert_eq!(events.next().await, Some(NodeEvent::Listening { address: address(&node) }));
    assert_eq!(handle.connect(there.clone()).await.unwrap(), other.peer_id());
    handle.add_address(other.peer_id(), there.clone()).unwrap();
    let error = handle.add_address(node.peer_id(), there.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");

    // It keeps nothing open: what is watched through it ends with the node.
    node.shutdown(Duration::ZERO).await;
    soon("the events end", async { while events.next().await.is_some() {} }).await;
    assert_eq!(handle.events().unwrap_err().kind(), ErrorKind::Closed);
    assert!(matches!(handle.connect(there).await, Err(ConnectError::Closed)));
}
