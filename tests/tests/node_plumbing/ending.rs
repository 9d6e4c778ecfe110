//! The end of a node.

use std::future::IntoFuture;
use std::time::{Duration, Instant};

use futures::StreamExt;
use p2prpc::prelude::*;

use super::support::{WorkshopClient, address, first, local, met, serving, soon, started};

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

/// A caller and a server that it is connected to.
async fn pair() -> (Node, Node) {
    let server = started(serving()).await;
    let caller = started(local()).await;
    caller.connect(address(&server)).await.unwrap();
    (caller, server)
}

#[tokio::test]
async fn calls_under_way_are_finished_within_the_grace() {
    let (caller, server) = pair().await;
    let stub = WorkshopClient::new(&caller).peer(server.peer_id());
    stub.echo("the stream is open".into()).await.unwrap();
    let call = tokio::spawn(stub.rest(1_000).into_future());
    // Once a second call is answered, the first has arrived.
    stub.echo("on the same stream".into()).await.unwrap();
    let started = Instant::now();
    server.shutdown(Duration::from_secs(20)).await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(call.await.unwrap().unwrap(), 1_000);
}

#[tokio::test]
async fn a_handler_that_hangs_is_ended_after_the_grace() {
    let (caller, server) = pair().await;
    let stub = WorkshopClient::new(&caller).peer(server.peer_id());
    stub.echo("the stream is open".into()).await.unwrap();
    let call = tokio::spawn(stub.hang().timeout(Duration::from_secs(60)).into_future());
    stub.echo("on the same stream".into()).await.unwrap();
    let started = Instant::now();
    server.shutdown(Duration::from_secs(1)).await;
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
    let error = soon("the caller hears of it", call).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun));
}

#[tokio::test]
async fn dropping_a_node_ends_its_calls_at_once() {
    let (caller, server) = pair().await;
    let stub = WorkshopClient::new(&caller).peer(server.peer_id());
    stub.echo("the stream is open".into()).await.unwrap();
    let call = tokio::spawn(stub.hang().timeout(Duration::from_secs(60)).into_future());
    stub.echo("on the same stream".into()).await.unwrap();
    drop(server);
    let error = soon("the caller hears of it", call).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun));
}

#[tokio::test]
async fn calls_of_a_node_that_is_dropped_end_too() {
    let (caller, server) = pair().await;
    let stub = WorkshopClient::new(&caller).peer(server.peer_id());
    stub.echo("the stream is open".into()).await.unwrap();
    let call = tokio::spawn(stub.hang().timeout(Duration::from_secs(60)).into_future());
    stub.echo("on the same stream".into()).await.unwrap();
    drop(caller);
    let error = soon("it is told", call).await.unwrap().unwrap_err();
    assert_eq!(error.delivery(), Delivery::MayHaveRun, "{error}");
}
