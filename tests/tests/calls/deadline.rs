//! A call never outlives its deadline, which travels with it and is kept at both ends.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use futures::future::join_all;
use libp2p::Multiaddr;
use p2prpc::prelude::*;
use p2prpc_tests::{Bench, LONG, Peer, PeerBuilder, WorkbenchClient, connect, mesh, soon};

async fn pair(server: PeerBuilder, caller: PeerBuilder) -> (Peer, Peer, Bench) {
    let bench = Bench::new();
    let server = server.serve(bench.service()).start().await;
    let caller = caller.start().await;
    connect(&caller, &server).await;
    (caller, server, bench)
}

fn passed<E: Failure>(error: &E, delivery: Delivery) {
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, delivery), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_at_its_deadline_at_both_ends() {
    let (caller, server, bench) = pair(Peer::builder(), Peer::builder()).await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    let timeout = Duration::from_millis(300);
    let called = Instant::now();
    let error = soon("it ends", there.hold("late".into()).timeout(timeout)).await.unwrap_err();
    passed(&error, Delivery::MayHaveRun);
    assert!(called.elapsed() >= timeout, "it ended after {:?}", called.elapsed());
    bench.has_dropped(1).await;
    assert_eq!(there.add(1, 2, 3).await.unwrap(), 6);
    assert_eq!(caller.connected_ever(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_calls_ends_at_its_own_deadline() {
    let (caller, server, bench) = pair(Peer::builder(), Peer::builder()).await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    // The earliest comes last.
    let calls = (1..=100u32).rev().map(|n| {
        let there = there.clone();
        async move {
            let (called, timeout) = (Instant::now(), Duration::from_millis(10) * (n + 20));
            passed(&there.hold("late".into()).timeout(timeout).await.unwrap_err(), Delivery::MayHaveRun);
            assert!(called.elapsed() >= timeout);
        }
    });
    soon("all end", join_all(calls)).await;
    // On a loaded machine a call may come too late to be started at all.
    bench.has_seen("no handler is left", |seen| seen.waiting == 0 && seen.dropped > 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handler_knows_how_long_it_may_take() {
    let (caller, server, _) = pair(Peer::builder(), Peer::builder()).await;
    let client = WorkbenchClient::new(&caller);
    let secs = |micros: u64| micros as f64 / 1e6;
    let by_default = secs(client.peer(server.id()).left().await.unwrap());
    assert!(by_default <= 10.0 && by_default > 5.0, "10 s by default: {by_default}");
    let of_client = secs(client.clone().timeout(Duration::from_secs(40)).peer(server.id()).left().await.unwrap());
    assert!(of_client <= 40.0 && of_client > 35.0, "as the client says: {of_client}");
    let there = client.timeout(Duration::from_secs(40)).peer(server.id());
    let of_call = secs(there.left().timeout(Duration::from_secs(20)).await.unwrap());
    assert!(of_call <= 20.0 && of_call > 15.0, "as the call says: {of_call}");
    let longest = secs(there.left().timeout(Duration::MAX).await.unwrap());
    assert!(longest <= 3600.0 && longest > 3500.0, "an hour at most: {longest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_a_timeout_of_its_own() {
    let (caller, server, bench) = pair(Peer::builder(), Peer::builder().timeout(Duration::from_millis(200))).await;
    let error = soon("it ends", WorkbenchClient::new(&caller).peer(server.id()).hold("late".into())).await.unwrap_err();
    passed(&error, Delivery::MayHaveRun);
    bench.has_dropped(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_ends_what_its_own_limit_ends() {
    let builder = Peer::builder().limits(|limits| limits.max_deadline = Duration::from_millis(200));
    let (caller, server, bench) = pair(builder, Peer::builder()).await;
    let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
    passed(&soon("it ends", there.hold("late".into())).await.unwrap_err(), Delivery::MayHaveRun);
    bench.has_dropped(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_a_handler_makes_never_outlive_its_own() {
    let (b_bench, c_bench) = (Bench::new(), Bench::new());
    let a = Peer::start().await;
    let b = Peer::serving(b_bench.service()).await;
    let c = Peer::serving(c_bench.service()).await;
    mesh(&[&a, &b, &c]).await;
    let there = WorkbenchClient::new(&a).peer(b.id());
    let left = there.left_there(c.id().to_string()).timeout(Duration::from_secs(20)).await.unwrap();
    assert!(left <= 20_000_000, "{left}");

    let call = there.hold_there(c.id().to_string()).timeout(Duration::from_millis(300));
    passed(&soon("it ends", call).await.unwrap_err(), Delivery::MayHaveRun);
    c_bench.has_dropped(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swarm_that_is_never_polled_costs_a_call_its_deadline() {
    let bench = Bench::new();
    let server = Peer::serving(bench.service()).await;
    let caller = Peer::builder().never_polled().start().await;
    caller.knows(&server).await;
    let there = WorkbenchClient::new(&caller).timeout(Duration::from_millis(300)).peer(server.id());
    let called = Instant::now();
    let errors = soon("all end", join_all((0..10).map(|_| there.count("never".into())))).await;
    for error in errors {
        passed(&error.unwrap_err(), Delivery::NeverSent);
    }
    assert!(called.elapsed() >= Duration::from_millis(300));
    assert!(bench.seen().counted.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_time_is_not_made_and_nobody_is_dialled_for_it() {
    let bench = Bench::new();
    let server = Peer::serving(bench.service()).await;
    let caller = Peer::start().await;
    caller.knows(&server).await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    let none = || there.count("never".into()).timeout(Duration::ZERO);
    passed(&soon("it ends", none()).await.unwrap_err(), Delivery::NeverSent);
    assert_eq!(there.add(1, 2, 3).await.unwrap(), 6);
    assert_eq!(caller.connected_ever(), 1);
    passed(&soon("it ends", none()).await.unwrap_err(), Delivery::NeverSent);
    assert!(bench.seen().counted.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_answers_no_handshake_costs_a_call_its_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port()).parse().unwrap();
    let (peer, caller) = (PeerId::random(), Peer::start().await);
    caller.with(move |swarm| swarm.add_peer_address(peer, address)).await;
    let call = WorkbenchClient::new(&caller).peer(peer).add(1, 2, 3).timeout(Duration::from_millis(300));
    passed(&soon("it ends", call).await.unwrap_err(), Delivery::NeverSent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_does_not_read_costs_calls_their_deadlines() {
    let (caller, server, bench) = pair(Peer::builder(), Peer::builder()).await;
    let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
    let blocks = tokio::spawn(there.block_reader());
    bench.has_waiting(1).await;
    // More than fits on the way. What did not fit was never sent as a whole.
    let timeout = Duration::from_millis(500);
    let calls = (0..200).map(|n| there.count(format!("{n}{}", "x".repeat(15_000))).timeout(timeout));
    let called = Instant::now();
    let mut never_sent = 0;
    for error in soon("all end", join_all(calls)).await {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        never_sent += usize::from(error.delivery() == Delivery::NeverSent);
    }
    assert!(called.elapsed() >= timeout);
    let later = there.count("later".into()).timeout(Duration::from_millis(100));
    assert_eq!(soon("it ends", later).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    bench.release();
    soon("it goes on", blocks).await.unwrap().unwrap();
    assert_eq!(soon("it goes on", there.add(1, 2, 3)).await.unwrap(), 6);
    let run = bench.seen().counted.values().sum::<u64>() as usize;
    assert!(run + never_sent <= 201, "{run} were run, {never_sent} were said never to have been sent");
}
