//! Peers that are known survive a restart.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use p2prpc::NodeBuilder;
use p2prpc::prelude::*;

use super::support::{PATIENCE, address, all_know_all, greeter, has_members};

/// Waits until the file tells of this peer.
async fn file_has(path: &Path, peer: PeerId) {
    let written = async {
        while !fs::read_to_string(path).is_ok_and(|text| text.contains(&peer.to_string())) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("it is written");
}

fn remembering(seed: u64, path: &Path, bootstrap: &Multiaddr) -> NodeBuilder {
    greeter().identity(Identity::from_seed(seed)).bootstrap([bootstrap]).peer_cache(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_starts_again_finds_the_group_though_its_bootstrap_peer_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    let first = greeter().start().await.unwrap();
    let bootstrap = address(&first);
    let second = greeter().bootstrap([&bootstrap]).start().await.unwrap();
    let third = greeter().bootstrap([&bootstrap]).start().await.unwrap();
    let forgetful = remembering(71, &path, &bootstrap).start().await.unwrap();
    let mut nodes = vec![first, second, third, forgetful];
    all_know_all(&nodes, PATIENCE).await;
    nodes.remove(0).shutdown(Duration::ZERO).await;
    nodes.pop().unwrap().shutdown(Duration::ZERO).await;
    file_has(&path, nodes[0].peer_id()).await;
    nodes.push(remembering(71, &path, &bootstrap).start().await.unwrap());
    all_know_all(&nodes, PATIENCE).await;
    // One that is killed has written what it knew too, and another identity finds the others as well.
    drop(nodes.pop());
    nodes.push(remembering(72, &path, &bootstrap).start().await.unwrap());
    let others: BTreeSet<PeerId> = nodes[..2].iter().map(Node::peer_id).collect();
    has_members(&nodes[2], &others, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_has_left_as_a_whole_finds_itself_again() {
    let folder = tempfile::tempdir().unwrap();
    let hub = greeter().start().await.unwrap();
    let bootstrap = address(&hub);
    let mut nodes = Vec::new();
    for seed in 81..84 {
        nodes.push(remembering(seed, &folder.path().join(seed.to_string()), &bootstrap).start().await.unwrap());
    }
    let all: BTreeSet<PeerId> = nodes.iter().chain([&hub]).map(Node::peer_id).collect();
    for node in &nodes {
        has_members(node, &(&all - &BTreeSet::from([node.peer_id()])), PATIENCE).await;
    }
    let places: Vec<Multiaddr> = nodes.iter().map(|node| address(node).iter().take(2).collect()).collect();
    hub.shutdown(Duration::ZERO).await;
    for node in nodes {
        node.shutdown(Duration::ZERO).await;
    }
    let mut again = Vec::new();
    for (seed, place) in (81..84).zip(&places) {
        let builder = Node::builder()
            .identity(Identity::from_seed(seed))
            .listen(place)
            .rendezvous("membership")
            .bootstrap([&bootstrap])
            .peer_cache(folder.path().join(seed.to_string()));
        again.push(builder.start().await.unwrap());
    }
    all_know_all(&again, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_none_of_ours_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    fs::write(&path, [0xff; 4096]).unwrap();
    let first = greeter().start().await.unwrap();
    let second = remembering(91, &path, &address(&first)).start().await.unwrap();
    file_has(&path, first.peer_id()).await;
    assert_eq!(fs::read(folder.path().join("peers.bad")).unwrap(), [0xff; 4096]);
    drop(second);
    // A folder can't be read, and not be written.
    let third = remembering(92, folder.path(), &address(&first)).start().await.unwrap();
    all_know_all(&[first, third], PATIENCE).await;
}
