//! Dropping a call stops its handler, wherever the call is on its way, and harms no other.

use std::time::Duration;

use futures::future::{join_all, select_all};
use p2prpc::prelude::*;
use p2prpc_tests::{Bench, LONG, Peer, Transport, WorkbenchClient, WorkbenchPeer, connect, mesh, soon};

async fn pair(transport: Transport) -> (Peer, Peer, Bench, WorkbenchPeer) {
    let bench = Bench::new();
    let server = Peer::builder().transport(transport).serve(bench.service()).start().await;
    let caller = Peer::builder().transport(transport).start().await;
    connect(&caller, &server).await;
    let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
    (caller, server, bench, there)
}

async fn dropping_a_call_drops_its_handler(transport: Transport) {
    let (caller, _server, bench, there) = pair(transport).await;
    let call = tokio::spawn(there.hold("dropped".into()));
    bench.has_waiting(1).await;
    call.abort();
    bench.has_dropped(1).await;
    assert_eq!(bench.seen().waiting, 0);

    // So do a timeout around it, and a race that others win.
    assert!(tokio::time::timeout(Duration::from_millis(50), there.hold("dropped".into())).await.is_err());
    bench.has_dropped(2).await;
    let mut race: Vec<_> = (0..4).map(|_| there.hold("loser".into())).collect();
    assert!(futures::poll!(select_all(&mut race)).is_pending());
    bench.has_waiting(4).await;
    drop(race);
    bench.has_dropped(6).await;

    assert_eq!(there.add(1, 2, 3).await.unwrap(), 6);
    assert_eq!(caller.connected_ever(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_call_drops_its_handler_over_tcp() {
    dropping_a_call_drops_its_handler(Transport::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_call_drops_its_handler_over_quic() {
    dropping_a_call_drops_its_handler(Transport::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_never_polled_is_never_made() {
    let bench = Bench::new();
    let server = Peer::serving(bench.service()).await;
    let caller = Peer::start().await;
    caller.knows(&server).await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    drop(there.count("unpolled".into()));
    assert_eq!(there.add(1, 2, 3).await.unwrap(), 6);
    assert!(bench.seen().counted.is_empty());
}

// On one thread nothing goes on between two steps of the test.
#[tokio::test]
async fn a_call_that_is_dropped_while_it_waits_for_a_connection_is_never_made() {
    let bench = Bench::new();
    let server = Peer::serving(bench.service()).await;
    let caller = Peer::start().await;
    caller.knows(&server).await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    let mut early = there.count("early".into());
    assert!(futures::poll!(&mut early).is_pending());
    drop(early);
    assert_eq!(soon("the other", there.count("kept".into())).await.unwrap(), 1);
    assert_eq!(bench.seen().counted.get("early"), None);
}

#[tokio::test]
async fn a_call_that_is_dropped_in_the_middle_of_its_arguments_is_never_run() {
    let (caller, _server, bench, there) = pair(Transport::Tcp).await;
    there.echo("warm".into()).await.unwrap();
    // A step is some 60 polls of other tasks; the whole takes more than four.
    for steps in 0..4 {
        let mut large = there.count("x".repeat(4_000_000));
        assert!(futures::poll!(&mut large).is_pending());
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        drop(large);
        assert_eq!(soon("a small call", there.add(steps, 0, 0)).await.unwrap(), steps);
        assert!(bench.seen().counted.is_empty(), "after {steps} steps");
    }
    assert_eq!(soon("a large call", there.count("x".repeat(4_000_000))).await.unwrap(), 1);
    assert_eq!(caller.connected_ever(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_dropped_in_the_middle_of_their_arguments_give_their_room_back() {
    let (caller, _server, _bench, there) = pair(Transport::Tcp).await;
    there.echo("warm".into()).await.unwrap();
    // More than may be in flight, if any of it were kept.
    for n in 0..40 {
        let mut large: Vec<_> = (0..8).map(|_| there.count("x".repeat(3_000_000))).collect();
        let _ = futures::poll!(select_all(&mut large));
        // It is dropped at once, or when some of it has gone.
        if n % 2 == 0 {
            assert_eq!(soon("a small call", there.add(n, 0, 0)).await.unwrap(), n);
        }
        drop(large);
    }
    assert_eq!(soon("a large call", there.echo("x".repeat(4_000_000))).await.unwrap().len(), 4_000_000);
    assert_eq!(caller.connected_ever(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_is_aborted_in_the_middle_of_its_arguments_harms_no_other() {
    let (caller, _server, _bench, there) = pair(Transport::Tcp).await;
    for n in 0..30 {
        let large = tokio::spawn(there.echo("x".repeat(2_000_000)));
        let beside = tokio::spawn(there.echo("y".repeat(200_000)));
        tokio::time::sleep(Duration::from_millis(n % 7)).await;
        large.abort();
        assert_eq!(soon("the other", beside).await.unwrap().unwrap().len(), 200_000);
    }
    assert_eq!(caller.connected_ever(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_dropped_in_the_middle_of_their_replies_harm_no_other() {
    let (caller, _server, _bench, there) = pair(Transport::Tcp).await;
    for n in 0..30 {
        let large: Vec<_> = (0..4).map(|_| tokio::spawn(there.text(2_000_000))).collect();
        let beside = tokio::spawn(there.text(300_000));
        tokio::time::sleep(Duration::from_millis(n % 7)).await;
        large.iter().for_each(|call| call.abort());
        assert_eq!(soon("the other", beside).await.unwrap().unwrap().len(), 300_000);
    }
    assert_eq!(caller.connected_ever(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_calls_give_their_places_back() {
    let (_caller, _server, bench, there) = pair(Transport::Tcp).await;
    for round in 1..=3 {
        let calls: Vec<_> = (0..1024).map(|_| tokio::spawn(there.hold("dropped".into()))).collect();
        bench.has_waiting(1024).await;
        calls.iter().for_each(|call| call.abort());
        bench.has_dropped(round * 1024).await;
    }
    assert_eq!(there.add(1, 2, 3).await.unwrap(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_dropped_just_when_they_are_answered_harm_no_other() {
    let (caller, _server, _bench, there) = pair(Transport::Tcp).await;
    let rounds = (0..8).map(|n| {
        let there = there.clone();
        tokio::spawn(async move {
            for round in 0..100 {
                let _ = tokio::time::timeout(Duration::from_micros(500 + 37 * n), there.rest(1)).await;
                assert_eq!(there.add(round, 0, 0).await.unwrap(), round);
            }
        })
    });
    for round in soon("all rounds", join_all(rounds)).await {
        round.unwrap();
    }
    assert_eq!(caller.connected_ever(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_call_drops_the_calls_that_its_handler_makes() {
    let (b_bench, c_bench) = (Bench::new(), Bench::new());
    let a = Peer::start().await;
    let b = Peer::serving(b_bench.service()).await;
    let c = Peer::serving(c_bench.service()).await;
    mesh(&[&a, &b, &c]).await;
    let there = WorkbenchClient::new(&a).timeout(LONG).peer(b.id());
    let call = tokio::spawn(there.hold_there(c.id().to_string()));
    c_bench.has_waiting(1).await;
    call.abort();
    c_bench.has_dropped(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_drops_its_handlers_whoever_closes_it() {
    for transport in [Transport::Tcp, Transport::Quic] {
        for by_server in [true, false] {
            let (caller, server, bench, there) = pair(transport).await;
            let calls: Vec<_> = (0..10).map(|_| tokio::spawn(there.hold("lost".into()))).collect();
            bench.has_waiting(10).await;
            if by_server {
                server.cut_all(&caller).await;
            } else {
                caller.cut_all(&server).await;
            }
            bench.has_dropped(10).await;
            for call in soon("all", join_all(calls)).await {
                assert_eq!(call.unwrap().unwrap_err().kind(), ErrorKind::ConnectionLost);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_dies_drops_its_handlers() {
    let (caller, _server, bench, there) = pair(Transport::Tcp).await;
    let call = tokio::spawn(there.hold("lost".into()));
    bench.has_waiting(1).await;
    caller.kill().await;
    bench.has_dropped(1).await;
    assert_eq!(soon("it fails", call).await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionLost);
}
