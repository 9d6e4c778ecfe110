//! Members leave in three ways: with a word, without one, and only for a while.

use std::time::{Duration, Instant};

use futures::StreamExt;
use p2prpc::NodeEvent;

use super::support::{PATIENCE, address, all_greet_all, all_know_all, greeter_at, swarm};

#[tokio::test(flavor = "multi_thread")]
async fn a_polite_leave_is_seen_at_once_and_is_no_failure() {
    let mut nodes = swarm(4).await;
    all_know_all(&nodes, PATIENCE).await;
    let leaver = nodes.remove(2);
    let start = Instant::now();
    let (_, took) = tokio::join!(leaver.shutdown(Duration::from_secs(5)), async {
        all_know_all(&nodes, Duration::from_secs(10)).await;
        start.elapsed()
    });
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_is_out_within_ten_seconds() {
    let mut nodes = swarm(4).await;
    all_know_all(&nodes, PATIENCE).await;
    let events: Vec<_> = nodes.iter().map(|node| node.events()).collect();
    let dead = nodes.remove(2);
    let peer = dead.peer_id();
    drop(dead);
    all_know_all(&nodes, Duration::from_secs(10)).await;
    for (number, events) in events.into_iter().enumerate().filter(|(number, _)| *number != 2) {
        let left = events.filter(|event| std::future::ready(*event == NodeEvent::PeerLeft { peer }));
        let left = tokio::time::timeout(Duration::from_secs(5), std::pin::pin!(left).next()).await;
        assert!(left.is_ok(), "node {number} says so");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_starts_again_with_the_same_identity_is_a_member_again() {
    let mut nodes = swarm(3).await;
    let place = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
    nodes.push(greeter_at(302, &place).bootstrap([address(&nodes[0])]).start().await.unwrap());
    all_know_all(&nodes, PATIENCE).await;
    let place = address(&nodes[3]);
    for polite in [false, true] {
        let old = nodes.remove(3);
        if polite {
            old.shutdown(Duration::from_secs(1)).await;
        } else {
            drop(old);
        }
        all_know_all(&nodes, Duration::from_secs(10)).await;
        let again = greeter_at(302, &place).bootstrap([address(&nodes[0])]).start().await.unwrap();
        nodes.push(again);
        all_know_all(&nodes, Duration::from_secs(10)).await;
        all_greet_all(&nodes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bootstrap_peer_that_starts_again_is_a_member_again() {
    let mut nodes = vec![greeter_at(303, &"/ip4/127.0.0.1/tcp/0".parse().unwrap()).start().await.unwrap()];
    let place = address(&nodes[0]);
    for _ in 0..3 {
        nodes.push(super::support::greeter().bootstrap([&place]).start().await.unwrap());
    }
    all_know_all(&nodes, PATIENCE).await;
    drop(nodes.remove(0));
    all_know_all(&nodes, Duration::from_secs(10)).await;
    nodes.push(greeter_at(303, &place).start().await.unwrap());
    all_know_all(&nodes, Duration::from_secs(15)).await;
    all_greet_all(&nodes).await;
}
