//! The streams of many peers.

use std::collections::BTreeMap;
use std::time::Duration;

use p2prpc::prelude::*;

use super::{Service, StreamsClient, StreamsServer, TCP, node};

#[tokio::test]
async fn streams_of_many_peers_are_merged_and_each_one_ends_for_itself() {
    let caller = node(None, TCP).await;
    let mut servers = Vec::new();
    for _ in 0..3 {
        let server = node(Some(Service::default()), TCP).await;
        caller.connect(server.addresses().pop().expect("an address")).await.expect("it is there");
        servers.push(server);
    }
    let nobody = PeerId::random();
    let peers: Vec<PeerId> = servers.iter().map(Node::peer_id).chain([nobody]).collect();
    let mut merged = StreamsClient::new(&caller).peers(peers.clone()).count(1000);
    let mut come: BTreeMap<PeerId, Vec<u64>> = BTreeMap::new();
    let (mut ended, mut failed) = (Vec::new(), Vec::new());
    while let Some((peer, item)) = merged.next().await {
        match item {
            Some(Ok(item)) => come.entry(peer).or_default().push(item),
            Some(Err(error)) => failed.push((peer, error.kind())),
            None => ended.push(peer),
        }
    }
    assert_eq!(failed, [(nobody, ErrorKind::Unreachable)]);
    ended.sort();
    let mut expected = peers[..3].to_vec();
    expected.sort();
    assert_eq!(ended, expected);
    assert!(come.values().all(|items| items.iter().copied().eq(1..=1000)) && come.len() == 3);
}

#[tokio::test]
async fn a_silent_peer_holds_up_no_other() {
    let caller = node(None, TCP).await;
    let (one, other) = (node(Some(Service::default()), TCP).await, node(Some(Service::default()), TCP).await);
    for server in [&one, &other] {
        caller.connect(server.addresses().pop().expect("an address")).await.expect("it is there");
    }
    let mut merged = StreamsClient::new(&caller).peers([one.peer_id(), other.peer_id()]).for_ever();
    let mut last = BTreeMap::from([(one.peer_id(), 0_u64), (other.peer_id(), 0)]);
    let mut taken = 0;
    while last.values().any(|last| *last < 10_000) {
        let (peer, item) = merged.next().await.expect("they go on for ever");
        last.insert(peer, item.expect("no end").expect("no error"));
        taken += 1;
        assert!(taken < 5_000_000, "one is far ahead: {last:?}");
    }
    drop(one);
    let failed = async {
        loop {
            if let (peer, Some(Err(error))) = merged.next().await.expect("the other goes on") {
                break (peer, error.kind());
            }
        }
    };
    let (peer, kind) = tokio::time::timeout(Duration::from_secs(20), failed).await.expect("its end is told");
    assert_eq!(kind, ErrorKind::ConnectionLost);
    assert!(last.contains_key(&peer) && peer != other.peer_id());
    assert!(matches!(merged.next().await, Some((peer, Some(Ok(_)))) if peer == other.peer_id()));
}

#[tokio::test]
async fn members_that_join_meanwhile_are_called_too() {
    let first = Node::builder().listen(TCP).rendezvous("streams").start().await.expect("a node");
    let address = first.addresses().pop().expect("an address");
    let mut all = StreamsClient::new(&first).all().silent().follow_members();
    assert!(futures::poll!(all.next()).is_pending(), "nobody is there yet");
    let mut merged = StreamsClient::new(&first).all().count(2).follow_members();
    let mut servers = Vec::new();
    for _ in 0..2 {
        let server = Node::builder().listen(TCP).rendezvous("streams").bootstrap([address.clone()]);
        let server = server.serve(StreamsServer::new(Service::default())).start().await.expect("a node");
        let mut items = Vec::new();
        let ended = async {
            while let Some((peer, item)) = merged.next().await {
                assert_eq!(peer, server.peer_id());
                match item {
                    Some(item) => items.push(item.expect("no error")),
                    None => break,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it is called when it joins");
        assert_eq!(items, [1, 2]);
        servers.push(server);
    }
    let alone = Node::builder().listen(TCP);
    let mut nobody = StreamsClient::new(alone.handle()).all().count(1);
    assert!(nobody.next().await.is_none());
    assert_eq!(nobody.failure().map(RpcError::kind), Some(ErrorKind::NotStarted));
}
