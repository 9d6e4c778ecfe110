//! Limits are kept, each refusal is typed and at once, and below them nobody is refused.

use std::time::{Duration, Instant};

use futures::future::join_all;
use p2prpc::prelude::*;
use p2prpc_tests::{Bench, LONG, Peer, PeerBuilder, Transport, WorkbenchClient, WorkbenchPeer, mesh, soon};

/// The default limit on the calls in flight of a peer.
const CALLS: usize = 1024;

async fn pair(server: PeerBuilder, caller: PeerBuilder) -> (Peer, Peer, Bench) {
    let bench = Bench::new();
    let server = server.serve(bench.service()).start().await;
    let caller = caller.start().await;
    caller.knows(&server).await;
    (caller, server, bench)
}

fn there(caller: &Peer, server: &Peer) -> WorkbenchPeer {
    WorkbenchClient::new(caller).timeout(LONG).peer(server.id())
}

fn is<E: Failure>(error: &E, kind: ErrorKind, delivery: Delivery) {
    assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{error}");
}

async fn as_many_looping_callers_as_the_limit_allows(transport: Transport) {
    let (caller, server, _) = pair(Peer::builder().transport(transport), Peer::builder().transport(transport)).await;
    let there = there(&caller, &server);
    there.echo("warm".into()).await.unwrap();
    let callers = (0..CALLS).map(|n| {
        let there = there.clone();
        tokio::spawn(async move {
            for call in 0..20 {
                // Some are answered where they were read, some by tasks of their own, some in many frames.
                let answer = match (n + call) % 16 {
                    0 => there.rest(1).await.map(|_| ()),
                    1 => there.text(20_000).await.map(|_| ()),
                    _ => there.add(1, 2, 3).await.map(|_| ()),
                };
                answer?;
            }
            Ok::<_, RpcError>(())
        })
    });
    for result in soon("all answers", join_all(callers)).await {
        result.unwrap().unwrap_or_else(|error| panic!("{error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_looping_callers_as_the_limit_allows_are_never_refused_over_tcp() {
    as_many_looping_callers_as_the_limit_allows(Transport::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_looping_callers_as_the_limit_allows_are_never_refused_over_quic() {
    as_many_looping_callers_as_the_limit_allows(Transport::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_past_the_limit_is_refused_at_once_and_the_rest_goes_on() {
    let (caller, server, bench) = pair(Peer::builder(), Peer::builder()).await;
    let there = there(&caller, &server);
    let held: Vec<_> = (0..CALLS).map(|_| tokio::spawn(there.hold("held".into()))).collect();
    bench.has_waiting(CALLS).await;
    let error = soon("it is refused", there.add(1, 2, 3)).await.unwrap_err();
    is(&error, ErrorKind::Overloaded, Delivery::NeverSent);
    assert!(error.to_string().contains("1024 calls to this peer are in flight"), "{error}");

    let other = Peer::start().await;
    other.knows(&server).await;
    let elsewhere = WorkbenchClient::new(&other).peer(server.id());
    assert_eq!(soon("others are served", elsewhere.add(1, 2, 3)).await.unwrap(), 6);

    bench.release();
    assert!(soon("all", join_all(held)).await.into_iter().all(|answer| answer.unwrap().is_ok()));
    assert_eq!(there.add(1, 2, 3).await.unwrap(), 6, "there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_past_a_limit_that_the_caller_does_not_know_yet_is_answered_or_refused() {
    // The calls leave before the server has said how many it takes.
    let (caller, server, bench) =
        pair(Peer::builder().limits(|limits| limits.max_calls_per_peer = 16), Peer::builder()).await;
    let there = there(&caller, &server);
    let calls: Vec<_> = (0..200).map(|_| tokio::spawn(there.hold("held".into()))).collect();
    bench.has_waiting(16).await;
    // Nothing is answered before the refusals of this stream are.
    is(&soon("it is refused", there.add(1, 2, 3)).await.unwrap_err(), ErrorKind::Overloaded, Delivery::NeverSent);
    bench.release();
    let mut answered = 0;
    for result in soon("all", join_all(calls)).await {
        match result.unwrap() {
            Ok(text) => answered += usize::from(text == "held"),
            Err(error) => is(&error, ErrorKind::Overloaded, Delivery::NeverSent),
        }
    }
    assert!(answered >= 16, "{answered}");
    assert!(bench.seen().most_waiting <= 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_a_connection_are_bounded() {
    let (caller, server, _) = pair(Peer::builder(), Peer::builder().never_polled()).await;
    let there = WorkbenchClient::new(&caller).timeout(Duration::from_secs(5)).peer(server.id());
    let waiting: Vec<_> = (0..CALLS).map(|_| there.add(1, 2, 3)).collect();
    let mut waiting = join_all(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    let error = soon("it is refused", there.add(1, 2, 3)).await.unwrap_err();
    is(&error, ErrorKind::Overloaded, Delivery::NeverSent);
    for result in soon("they end", waiting).await {
        is(&result.unwrap_err(), ErrorKind::DeadlineExceeded, Delivery::NeverSent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_peers_together_have_a_limit_too() {
    let builder = Peer::builder().limits(|limits| limits.max_calls = 300);
    let (one, server, bench) = pair(builder, Peer::builder()).await;
    let other = Peer::start().await;
    other.knows(&server).await;
    // A peer has 256 at most of so few.
    let first: Vec<_> = (0..256).map(|_| tokio::spawn(there(&one, &server).hold("held".into()))).collect();
    bench.has_waiting(256).await;
    let second: Vec<_> = (0..44).map(|_| tokio::spawn(there(&other, &server).hold("held".into()))).collect();
    bench.has_waiting(300).await;
    let error = soon("it is refused", there(&other, &server).add(1, 2, 3)).await.unwrap_err();
    is(&error, ErrorKind::Overloaded, Delivery::NeverSent);
    bench.release();
    assert!(
        soon("all", join_all(first.into_iter().chain(second))).await.into_iter().all(|answer| answer.unwrap().is_ok())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_past_the_limit_on_bytes_wait_and_go_on() {
    let (caller, server, bench) =
        pair(Peer::builder().limits(|limits| limits.max_bytes_per_peer = 1_000_000), Peer::builder()).await;
    let there = there(&caller, &server);
    there.echo("warm".into()).await.unwrap();
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(there.hold("x".repeat(400_000)))).collect();
    bench.has_waiting(2).await;
    for _ in 0..20 {
        assert_eq!(soon("small ones pass", there.add(1, 2, 3)).await.unwrap(), 6);
    }
    assert_eq!(bench.seen().most_waiting, 2, "two have room");
    bench.release();
    assert!(
        soon("all", join_all(calls))
            .await
            .into_iter()
            .all(|answer| answer.unwrap().is_ok_and(|text| text.len() == 400_000))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_find_no_room_in_time_were_never_sent() {
    let (caller, server, bench) =
        pair(Peer::builder().limits(|limits| limits.max_bytes_per_peer = 1_000_000), Peer::builder()).await;
    let there = there(&caller, &server);
    there.echo("warm".into()).await.unwrap();
    let held: Vec<_> = (0..2).map(|_| tokio::spawn(there.hold("x".repeat(400_000)))).collect();
    bench.has_waiting(2).await;
    let called = Instant::now();
    let late = there.hold("x".repeat(400_000)).timeout(Duration::from_millis(200));
    is(&soon("it ends", late).await.unwrap_err(), ErrorKind::DeadlineExceeded, Delivery::NeverSent);
    assert!(called.elapsed() >= Duration::from_millis(200));
    // One that is dropped while it waits leaves its place.
    let dropped = tokio::spawn(there.count("x".repeat(400_000)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    dropped.abort();
    bench.release();
    assert!(soon("all", join_all(held)).await.into_iter().all(|answer| answer.unwrap().is_ok()));
    there.echo("x".repeat(400_000)).await.unwrap();
    assert!(bench.seen().counted.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_to_all_peers_together_wait_too() {
    let (caller, one, first) =
        pair(Peer::builder(), Peer::builder().limits(|limits| limits.max_bytes = 1_000_000)).await;
    let second = Bench::new();
    let other = Peer::serving(second.service()).await;
    caller.knows(&other).await;
    let to_one: Vec<_> = (0..2).map(|_| tokio::spawn(there(&caller, &one).hold("x".repeat(400_000)))).collect();
    first.has_waiting(2).await;
    let to_other = tokio::spawn(there(&caller, &other).count("x".repeat(400_000)));
    assert_eq!(soon("small ones pass", there(&caller, &other).add(1, 2, 3)).await.unwrap(), 6);
    assert!(second.seen().counted.is_empty());
    first.release();
    assert!(soon("all", join_all(to_one)).await.into_iter().all(|answer| answer.unwrap().is_ok()));
    assert_eq!(soon("the one that waited", to_other).await.unwrap().unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_past_a_limit_is_refused_wherever_the_limit_is() {
    let (caller, server, bench) = pair(
        Peer::builder().limits(|limits| limits.max_message = 100_000),
        Peer::builder().limits(|limits| limits.max_message = 200_000),
    )
    .await;
    let there = there(&caller, &server);
    // Before the server has said what it takes, and after.
    for _ in 0..2 {
        let error = soon("the server's", there.count("x".repeat(150_000))).await.unwrap_err();
        is(&error, ErrorKind::TooLarge, Delivery::NeverSent);
        let error = soon("our own", there.count("x".repeat(250_000))).await.unwrap_err();
        is(&error, ErrorKind::TooLarge, Delivery::NeverSent);
        assert!(error.to_string().contains("200000"), "it says the limit: {error}");
    }
    assert!(bench.seen().counted.is_empty());
    assert_eq!(there.echo("x".repeat(99_000)).await.unwrap().len(), 99_000);
    assert_eq!(caller.connected_ever(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_past_a_limit_is_refused_wherever_the_limit_is() {
    let (caller, server, _) = pair(
        Peer::builder().limits(|limits| limits.max_message = 200_000),
        Peer::builder().limits(|limits| limits.max_message = 100_000),
    )
    .await;
    let there = there(&caller, &server);
    for bytes in [150_000, 250_000] {
        let error = soon("it is refused", there.text(bytes)).await.unwrap_err();
        is(&error, ErrorKind::TooLarge, Delivery::Answered);
    }
    assert_eq!(there.text(99_000).await.unwrap().len(), 99_000);
    assert_eq!(caller.connected_ever(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_replies_than_may_be_in_flight_arrive_or_are_overloaded_by_name() {
    let small = || Peer::builder().limits(|limits| limits.max_bytes_per_peer = 1_000_000);
    let (caller, server, _) = pair(small(), small()).await;
    let there = there(&caller, &server);
    let replies = soon("all", join_all((0..100).map(|_| there.text(300_000)))).await;
    let mut whole = 0;
    for reply in replies {
        match reply {
            Ok(text) => {
                assert_eq!(text.len(), 300_000);
                whole += 1;
            }
            // Answers that wait for room are bounded too.
            Err(error) => is(&error, ErrorKind::Overloaded, Delivery::Answered),
        }
    }
    assert!(whole >= 3, "{whole} of 100");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_each_way_at_once_get_through() {
    let (left, right) = (Bench::new(), Bench::new());
    let left = Peer::serving(left.service()).await;
    let right = Peer::serving(right.service()).await;
    mesh(&[&left, &right]).await;
    let calls = |from: &Peer, to: &Peer| {
        let there = there(from, to);
        join_all((0..100).map(move |_| there.echo("x".repeat(1_000_000))))
    };
    let both = futures::future::join(calls(&left, &right), calls(&right, &left));
    let (a, b) = soon("all", both).await;
    for answer in a.into_iter().chain(b) {
        assert_eq!(answer.unwrap_or_else(|error| panic!("{error}")).len(), 1_000_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_limit_past_the_bytes_of_a_peer_holds_all_the_same() {
    let raised = || {
        Peer::builder().limits(|limits| {
            limits.max_bytes_per_peer = 5_000_000;
            limits.max_bytes = 5_000_000;
            limits.max_message = 6_000_000;
        })
    };
    let (caller, server, _) = pair(raised(), raised()).await;
    let large = "x".repeat(5_500_000);
    assert_eq!(soon("an echo", there(&caller, &server).echo(large.clone())).await.unwrap(), large);
    let error = soon("a refusal", there(&caller, &server).echo("x".repeat(6_000_001))).await.unwrap_err();
    is(&error, ErrorKind::TooLarge, Delivery::NeverSent);
    assert!(error.detail().contains("Limits::max_message"), "{error}");
}
