//! The end of a node.

use std::time::{Duration, Instant};

use futures::StreamExt;
use p2prpc::prelude::*;

use super::support::{address, first, local, met, soon, started};

#[tokio::test]
async fn a_node_that_leaves_is_missed_at_once() {
    let one = started(local()).await;
    let other = started(local().bootstrap([address(&one)])).await;
    met(&one, &other).await;
    let events = one.events();
    let peer = other.peer_id();
    let started = Instant::now();
    other.shutdown(Duration::from_secs(5)).await;
    soon("it is missed", first(events, |event| *event == NodeEvent::PeerLeft { peer })).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_belongs_to_a_node_ends_with_it() {
    let node = started(local()).await;
    let (handle, mut events, mut members) = (node.handle(), node.events(), node.watch_members());
    assert!(matches!(events.next().await, Some(NodeEvent::Listening { .. })));
    assert!(members.next().await.unwrap().is_empty());
    drop(node);
    assert_eq!(soon("events end", events.next()).await, None);
    assert_eq!(soon("members end", members.next()).await, None);
    assert_eq!(handle.local_peer_id().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn shutdown_without_peers_takes_no_time() {
    let node = started(local()).await;
    let started = Instant::now();
    node.shutdown(Duration::MAX).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}
