//! A connection stays while a call needs it and for a while after, and no longer.

use std::time::Duration;

use futures::future::join_all;
use p2prpc::prelude::*;
use p2prpc_tests::{Bench, LONG, Peer, PeerBuilder, Transport, WorkbenchClient, WorkbenchPeer, connect, soon};

const SHORT: Duration = Duration::from_millis(100);

async fn pair(server: PeerBuilder, caller: PeerBuilder) -> (Peer, Peer, Bench, WorkbenchPeer) {
    let bench = Bench::new();
    let server = server.serve(bench.service()).start().await;
    let caller = caller.start().await;
    caller.knows(&server).await;
    let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
    (caller, server, bench, there)
}

/// Its Swarm closes connections that nobody needs after a short time.
fn hasty(transport: Transport) -> PeerBuilder {
    Peer::builder().transport(transport).idle_connection(SHORT)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_end_closes_a_connection_under_a_call_that_takes_longer_than_it_keeps_idle_ones() {
    for transport in [Transport::Tcp, Transport::Quic] {
        let short = || hasty(transport).idle_stream(SHORT);
        let (caller, server, bench, there) = pair(short(), short()).await;
        let held = tokio::spawn(there.hold("held".into()));
        bench.has_waiting(1).await;
        tokio::time::sleep(SHORT * 8).await;
        assert!(!held.is_finished());
        bench.release();
        assert_eq!(soon("it is answered", held).await.unwrap().unwrap(), "held");
        assert_eq!((caller.connected_ever(), server.connected_ever()), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_stream_keeps_its_connection_until_it_has_been_idle_for_long() {
    for transport in [Transport::Tcp, Transport::Quic] {
        let (caller, server, _, there) = pair(hasty(transport), hasty(transport).idle_stream(SHORT * 10)).await;
        there.add(1, 2, 3).await.unwrap();
        for _ in 0..4 {
            tokio::time::sleep(SHORT * 4).await;
            there.add(1, 2, 3).await.unwrap();
        }
        assert_eq!(caller.connected_ever(), 1);
        caller.has_connections(&server, 0).await;
        server.has_connections(&caller, 0).await;
        assert_eq!(soon("the next call makes another", there.add(1, 2, 3)).await.unwrap(), 6);
        assert_eq!(caller.connected_ever(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_call_after_an_idle_time_opens_another_stream_on_the_same_connection() {
    let (caller, _server, _, there) = pair(Peer::builder(), Peer::builder().idle_stream(SHORT)).await;
    for n in 0..5 {
        assert_eq!(soon("it is answered", there.add(n, 0, 0)).await.unwrap(), n);
        tokio::time::sleep(SHORT * 3).await;
    }
    assert_eq!(caller.connected_ever(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_made_just_when_a_stream_goes_idle_are_answered() {
    let idle = Duration::from_millis(5);
    let (caller, _server, bench, there) = pair(Peer::builder(), Peer::builder().idle_stream(idle)).await;
    let callers = (0..8).map(|n| {
        let there = there.clone();
        tokio::spawn(async move {
            for call in 0..100u64 {
                there.count(format!("{n}/{call}")).await?;
                tokio::time::sleep(Duration::from_micros(4_500 + (call * 97 + n * 31) % 1_000)).await;
            }
            Ok::<_, RpcError>(())
        })
    });
    for result in soon("all", join_all(callers)).await {
        result.unwrap().unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(caller.connected_ever(), 1);
    assert!(bench.seen().counted.values().all(|count| *count == 1) && bench.seen().counted.len() == 800);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_made_just_when_a_connection_goes_idle_are_answered() {
    let idle = Duration::from_millis(5);
    let short = || Peer::builder().idle_stream(idle).idle_connection(idle);
    let (_caller, _server, bench, there) = pair(short(), short()).await;
    for call in 0..60u64 {
        let answer = soon("it is answered", there.count(call.to_string())).await;
        assert_eq!(answer.unwrap_or_else(|error| panic!("{error}")), 1);
        tokio::time::sleep(Duration::from_micros(9_000 + call * 97 % 4_000)).await;
    }
    assert_eq!(bench.seen().counted.len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_nobody_calls_on_is_the_swarms_to_close() {
    let (caller, server, _, _) = pair(hasty(Transport::Tcp), hasty(Transport::Tcp)).await;
    connect(&caller, &server).await;
    caller.has_connections(&server, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_connection_stays_until_it_is_unpinned() {
    let (caller, server, _, _) = pair(hasty(Transport::Tcp), hasty(Transport::Tcp)).await;
    for one in [(&caller, server.id()), (&server, caller.id())] {
        one.0.with(move |swarm| swarm.behaviour_mut().set_pinned(one.1, true)).await;
    }
    connect(&caller, &server).await;
    tokio::time::sleep(SHORT * 6).await;
    assert_eq!(caller.connections(&server).len(), 1);
    let id = server.id();
    caller.with(move |swarm| swarm.behaviour_mut().set_pinned(id, false)).await;
    caller.has_connections(&server, 0).await;
}
