//! Connections on demand, and those that are refused.

use std::time::Duration;

use libp2p::futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use p2prpc::ConnectError;
use p2prpc::libp2p;
use p2prpc::prelude::*;

use super::support::{address, local, soon, started};

#[tokio::test]
async fn connect_says_who_answered() {
    let (one, other) = (started(local()).await, started(local()).await);
    let full = address(&other);
    let bare: Multiaddr = full.iter().take(2).collect();
    assert_eq!(one.connect(bare).await.unwrap(), other.peer_id());
    // It is connected already.
    assert_eq!(one.connect(full.to_string()).await.unwrap(), other.peer_id());
}

#[tokio::test]
async fn connect_says_why_not() {
    let (one, other) = (started(local()).await, started(local()).await);
    let nobody = started(local()).await;
    let gone = address(&nobody);
    nobody.shutdown(Duration::ZERO).await;
    let bare = |node: &Node| address(node).iter().take(2).collect::<Multiaddr>();

    let error = one.connect(&gone).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");

    let wrong = bare(&other).with_p2p(PeerId::random()).unwrap();
    let error = one.connect(wrong).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongPeer { found, .. } if found == other.peer_id()), "{error:?}");

    let error = one.connect(bare(&one)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Own { .. } | ConnectError::Unreachable { .. }), "{error:?}");

    let error = one.connect("/ip4/127.0.0.1/udp/1").await.unwrap_err();
    assert!(matches!(error, ConnectError::InvalidAddress(_)), "{error:?}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_can_not_be_connected_to() {
    let node = started(local()).await;
    let error = node.connect("/dns4/no-such-name.invalid/tcp/4001").await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn an_address_of_another_peer_can_not_be_added() {
    let node = started(local()).await;
    let error = node.add_address(PeerId::random(), address(&node)).unwrap_err();
    assert!(error.to_string().contains("not an address of"), "{error}");
}

fn raw_swarm() -> libp2p::Swarm<libp2p::swarm::dummy::Behaviour> {
    libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(Default::default(), libp2p::noise::Config::new, libp2p::yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| libp2p::swarm::dummy::Behaviour)
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

/// How many of `dials` connections of one peer last.
async fn connections_that_last(node: &Node, dials: usize) -> usize {
    let mut swarm = raw_swarm();
    let (mut open, mut outcomes) = (0_usize, 0);
    for _ in 0..dials {
        let opts = DialOpts::peer_id(node.peer_id()).condition(PeerCondition::Always).addresses(vec![address(node)]);
        swarm.dial(opts.build()).unwrap();
    }
    let settle = Duration::from_millis(1_500);
    // The refused are closed at once: when nothing happens any more, that was it.
    while let Ok(event) = tokio::time::timeout(settle, swarm.select_next_some()).await {
        match event {
            SwarmEvent::ConnectionEstablished { .. } => (open, outcomes) = (open + 1, outcomes + 1),
            SwarmEvent::ConnectionClosed { .. } => open -= 1,
            SwarmEvent::OutgoingConnectionError { .. } => outcomes += 1,
            _ => {}
        }
    }
    assert_eq!(outcomes, dials);
    open
}

#[tokio::test]
async fn one_peer_has_four_connections_at_most() {
    let node = started(local()).await;
    assert_eq!(connections_that_last(&node, 7).await, 4);
    let other = started(local()).await;
    soon("others still connect", other.connect(address(&node))).await.unwrap();
}

#[tokio::test]
async fn all_peers_together_have_three_quarters_of_all_connections() {
    let node = started(local().max_connections(4)).await;
    let mut guests = Vec::new();
    for _ in 0..3 {
        let guest = started(local().bootstrap([address(&node)])).await;
        soon("it is let in", node.wait_for_members(guests.len() + 1)).await.unwrap();
        guests.push(guest);
    }
    assert_eq!(connections_that_last(&node, 1).await, 0);
    // The last quarter is for connections of its own making.
    let host = started(local()).await;
    soon("it gets out", node.connect(address(&host))).await.unwrap();
    let more = started(local()).await;
    let error = soon("it is full", node.connect(address(&more))).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("limit of 4 connections"), "{error}");
}
