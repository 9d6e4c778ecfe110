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

    for own in [bare(&one), address(&one)] {
        let error = one.connect(own).await.unwrap_err();
        assert!(matches!(error, ConnectError::Own { .. }), "{error:?}");
    }

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

/// Of so many connections of one peer so many last.
async fn connections_last(node: &Node, dials: usize, lasting: usize) {
    let mut swarm = raw_swarm();
    for _ in 0..dials {
        let opts = DialOpts::peer_id(node.peer_id()).condition(PeerCondition::Always).addresses(vec![address(node)]);
        swarm.dial(opts.build()).unwrap();
    }
    let (mut open, mut outcomes) = (0_usize, 0);
    loop {
        let settled = (outcomes, open) == (dials, lasting);
        // Once it is as it should be, it has to stay so.
        let patience = if settled { Duration::from_millis(500) } else { Duration::from_secs(30) };
        match tokio::time::timeout(patience, swarm.select_next_some()).await {
            Ok(SwarmEvent::ConnectionEstablished { .. }) => (open, outcomes) = (open + 1, outcomes + 1),
            Ok(SwarmEvent::ConnectionClosed { .. }) => open -= 1,
            Ok(SwarmEvent::OutgoingConnectionError { .. }) => outcomes += 1,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    assert_eq!(outcomes, dials);
    assert_eq!(open, lasting);
}

#[tokio::test]
async fn one_peer_has_four_connections_at_most() {
    let node = started(local()).await;
    connections_last(&node, 7, 4).await;
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
    connections_last(&node, 1, 0).await;
    // The last quarter is for connections of its own making.
    let host = started(local()).await;
    soon("it gets out", node.connect(address(&host))).await.unwrap();
    let more = started(local()).await;
    let error = soon("it is full", node.connect(address(&more))).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("limit of 4 connections"), "{error}");
}
