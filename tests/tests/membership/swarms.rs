//! Nodes find each other, however many there are and in whatever order they come.

use std::collections::BTreeSet;
use std::time::Duration;

use p2prpc::prelude::*;

use super::support::{
    GreeterServer, PATIENCE, Polite, address, all_greet_all, all_know_all, greeter, greeter_at, has_members, swarm,
};

#[tokio::test(flavor = "multi_thread")]
async fn five_find_each_other_through_one() {
    let nodes = swarm(5).await;
    all_know_all(&nodes, PATIENCE).await;
    all_greet_all(&nodes).await;
}

/// Kademlia alone gives 20 at most.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_five_find_each_other() {
    let nodes = swarm(25).await;
    all_know_all(&nodes, PATIENCE).await;
    all_greet_all(&nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_peer_that_comes_last_is_joined() {
    let first = greeter_at(301, &"/ip4/127.0.0.1/tcp/0".parse().unwrap()).start().await.unwrap();
    let place = address(&first);
    first.shutdown(Duration::ZERO).await;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(greeter().bootstrap([&place]).start().await.unwrap());
    }
    // Their pauses between two dials are at their longest by then.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(nodes.iter().all(|node| node.members().is_empty()));
    nodes.push(greeter_at(301, &place).start().await.unwrap());
    all_know_all(&nodes, Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_on_without_the_bootstrap_peer_and_take_in_newcomers() {
    let mut nodes = swarm(4).await;
    all_know_all(&nodes, PATIENCE).await;
    drop(nodes.remove(0));
    all_know_all(&nodes, Duration::from_secs(10)).await;
    all_greet_all(&nodes).await;
    nodes.push(greeter().bootstrap([address(&nodes[2])]).start().await.unwrap());
    all_know_all(&nodes, PATIENCE).await;
    all_greet_all(&nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rendezvous_on_one_node_stay_apart() {
    let of = |names: &[&str]| {
        let builder = Node::builder().listen("/ip4/127.0.0.1/tcp/0").serve(GreeterServer::new(Polite));
        names.iter().fold(builder, |builder, name| builder.rendezvous(*name))
    };
    let both = of(&["red", "blue"]).start().await.unwrap();
    let mut red = Vec::new();
    let mut blue = Vec::new();
    for _ in 0..3 {
        red.push(of(&["red"]).bootstrap([address(&both)]).start().await.unwrap());
        blue.push(of(&["blue"]).bootstrap([address(&both)]).start().await.unwrap());
    }
    let ids = |nodes: &[Node]| nodes.iter().map(Node::peer_id).collect::<BTreeSet<_>>();
    for group in [&red, &blue] {
        for node in group {
            let mut expected = ids(group);
            expected.remove(&node.peer_id());
            expected.insert(both.peer_id());
            has_members(node, &expected, PATIENCE).await;
        }
    }
    has_members(&both, &ids(&red).union(&ids(&blue)).copied().collect(), PATIENCE).await;
    for node in &red {
        assert!(both.members()[&node.peer_id()].is_in("red"));
        assert!(!both.members()[&node.peer_id()].is_in("blue"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_serves_nothing_is_a_member_that_nobody_asks() {
    let nodes = swarm(2).await;
    let idle = Node::builder()
        .listen("/ip4/127.0.0.1/tcp/0")
        .rendezvous("membership")
        .bootstrap([address(&nodes[0])])
        .start()
        .await
        .unwrap();
    let servers: BTreeSet<PeerId> = nodes.iter().map(Node::peer_id).collect();
    has_members(&idle, &servers, PATIENCE).await;
    nodes[0].wait_for_members(2).await.unwrap();
    let client = super::support::GreeterClient::new(&nodes[0]);
    assert_eq!(client.members(), [nodes[1].peer_id()]);
    // Once it serves, the others hear of it.
    idle.serve(GreeterServer::new(Polite)).unwrap();
    let asked = tokio::time::timeout(PATIENCE, client.wait_for(2)).await.expect("it is heard of").unwrap();
    assert!(asked.contains(&idle.peer_id()));
}
