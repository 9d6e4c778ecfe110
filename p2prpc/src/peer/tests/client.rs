//! What a peer that is called can do to a node.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::peer::Got;
use super::*;
use crate::call::Place;
use crate::error::{Delivery, ErrorKind};
use crate::wire::{self, Delivery as Claim, ErrorCode, Frame, GoAwayReason, Hello};

const PIPE: usize = 64 * 1024;
const LONG: Duration = Duration::from_secs(30);

/// A call under way on a stream whose other end has said hello.
async fn called(body: &[u8]) -> (Calling, Peer, Ongoing) {
    let mut calling = Calling::new(Limits::default());
    let call = calling.call(body, LONG);
    let (mut peer, _) = calling.accept(PIPE).await;
    peer.hello().await;
    assert!(matches!(peer.answer().await, Some(Got::Request { id: 1, .. })));
    (calling, peer, call)
}

/// The node sees a protocol error, says so, and the call may have run.
async fn is_broken(calling: Calling, mut peer: Peer, call: Ongoing, rule: &str) {
    let error = call.error().await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun));
    assert!(error.to_string().contains(rule), "{error}");
    let farewell = peer.rest().await.pop();
    assert!(matches!(&farewell, Some(Got::GoAway { reason: GoAwayReason::ProtocolError, .. })), "{farewell:?}");
    settle().await;
    assert_eq!(calling.session.config().in_use(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reply_for_a_call_never_made_ends_the_stream() {
    let (calling, mut peer, call) = called(b"x").await;
    peer.respond(2, b"y").await;
    is_broken(calling, peer, call, "never made").await;
}

#[tokio::test(start_paused = true)]
async fn an_error_for_a_call_never_made_ends_the_stream() {
    let (calling, mut peer, call) = called(b"x").await;
    let (code, delivery) = (ErrorCode::NotServed, Claim::NeverSent);
    peer.fail(9, code, delivery, "").await;
    is_broken(calling, peer, call, "never made").await;
}

#[tokio::test(start_paused = true)]
async fn a_chunk_for_a_call_never_made_ends_the_stream() {
    let (calling, mut peer, call) = called(b"x").await;
    peer.send(Frame::Body { id: 2, chunk: b"y" }).await;
    is_broken(calling, peer, call, "never made").await;
}

#[tokio::test(start_paused = true)]
async fn a_second_answer_in_the_middle_of_the_first_ends_the_stream() {
    let (calling, mut peer, call) = called(b"x").await;
    peer.send(Frame::Response(wire::Reply { id: 1, metadata: wire::MetadataRef::EMPTY, body_len: 10, chunk: b"y" }))
        .await;
    let (code, delivery) = (ErrorCode::Internal, Claim::MayHaveRun);
    peer.fail(1, code, delivery, "").await;
    is_broken(calling, peer, call, "second reply").await;
}

#[tokio::test(start_paused = true)]
async fn a_second_answer_behind_the_first_is_let_go_by() {
    let (calling, mut peer, call) = called(b"x").await;
    peer.respond(1, b"first").await;
    peer.respond(1, b"second").await;
    assert_eq!(call.reply().await, b"first");
    peer.respond(1, b"third").await;
    let next = calling.call(b"x", LONG);
    assert!(matches!(peer.answer().await, Some(Got::Request { id: 2, .. })));
    peer.respond(2, b"fourth").await;
    assert_eq!(next.reply().await, b"fourth");
}

#[tokio::test(start_paused = true)]
async fn a_reply_longer_than_announced_ends_the_stream() {
    let (calling, mut peer, call) = called(b"x").await;
    peer.send(Frame::Response(wire::Reply { id: 1, metadata: wire::MetadataRef::EMPTY, body_len: 10, chunk: b"y" }))
        .await;
    peer.send(Frame::Body { id: 1, chunk: b"0123456789" }).await;
    is_broken(calling, peer, call, "longer than announced").await;
}

#[tokio::test(start_paused = true)]
async fn a_request_from_the_end_that_answers_ends_the_stream() {
    let (calling, mut peer, call) = called(b"x").await;
    peer.request(1, "Probe.Echo", b"x").await;
    is_broken(calling, peer, call, "from the end that answers").await;
}

#[tokio::test(start_paused = true)]
async fn a_second_hello_ends_the_stream() {
    let (calling, mut peer, call) = called(b"x").await;
    peer.hello().await;
    is_broken(calling, peer, call, "second hello").await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_hello_ends_the_stream() {
    let mut calling = Calling::new(Limits::default());
    let call = calling.call(b"x", LONG);
    let (mut peer, _) = calling.accept(PIPE).await;
    settle().await;
    peer.respond(1, b"y").await;
    is_broken(calling, peer, call, "not a hello").await;
}

#[tokio::test(start_paused = true)]
async fn a_length_of_four_gibibytes_ends_the_stream() {
    let (calling, mut peer, call) = called(b"x").await;
    peer.send_bytes(&[0xff, 0xff, 0xff, 0xff, 0x0f]).await;
    is_broken(calling, peer, call, "longer than").await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_past_the_limit_is_refused_and_the_stream_goes_on() {
    let (calling, mut peer, call) = called(b"x").await;
    peer.send(Frame::Response(wire::Reply {
        id: 1,
        metadata: wire::MetadataRef::EMPTY,
        body_len: u64::MAX,
        chunk: &[7; 1000],
    }))
    .await;
    let error = call.error().await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::TooLarge, Delivery::Answered));
    peer.send(Frame::Body { id: 1, chunk: &[7; 60_000] }).await;
    let next = calling.call(b"x", LONG);
    assert!(matches!(peer.answer().await, Some(Got::Request { id: 2, .. })));
    peer.respond(2, b"y").await;
    assert_eq!(next.reply().await, b"y");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_answers_that_nobody_waits_for() {
    let (calling, mut peer, call) = called(b"x").await;
    let dead: Vec<_> = (0..40).map(|_| calling.call(b"x", LONG)).collect();
    let live = calling.call(b"x", LONG);
    settle().await;
    dead.iter().for_each(Ongoing::cancel);
    call.cancel();
    settle().await;
    // 160 MiB announced, and endless chunks, for calls that were given up.
    for id in 1..=41 {
        peer.send(Frame::Response(wire::Reply {
            id,
            metadata: wire::MetadataRef::EMPTY,
            body_len: 4 << 20,
            chunk: &[],
        }))
        .await;
        for _ in 0..20 {
            peer.send(Frame::Body { id, chunk: &[7; 60_000] }).await;
        }
    }
    // The one that lives has all the room there is.
    peer.send(Frame::Response(wire::Reply {
        id: 42,
        metadata: wire::MetadataRef::EMPTY,
        body_len: 4 << 20,
        chunk: &[],
    }))
    .await;
    for _ in 0..64 {
        peer.send(Frame::Body { id: 42, chunk: &[7; 64 * 1024] }).await;
    }
    assert_eq!(live.reply().await.len(), 4 << 20);
    assert_eq!(calling.session.config().in_use(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn replies_past_the_limit_on_bytes_are_refused() {
    let (calling, mut peer, first) = called(b"x").await;
    let calls: Vec<_> = (0..16).map(|_| calling.call(b"x", LONG)).collect();
    settle().await;
    for id in 1..=17 {
        peer.send(Frame::Response(wire::Reply {
            id,
            metadata: wire::MetadataRef::EMPTY,
            body_len: 4 << 20,
            chunk: &[],
        }))
        .await;
    }
    let error = calls[15].error().await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::Answered));
    drop(peer);
    assert_eq!(first.error().await.kind(), ErrorKind::ConnectionLost);
    settle().await;
    assert_eq!(calling.session.config().in_use(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn replies_of_all_peers_together_are_bounded_by_what_came_of_them() {
    let mut calling = Calling::new(Limits { max_bytes: 1 << 20, ..Limits::default() });
    let calls: Vec<_> = (0..3).map(|_| calling.call(b"x", LONG)).collect();
    let (mut peer, _) = calling.accept(PIPE).await;
    peer.hello().await;
    settle().await;
    // Announced, it costs nothing.
    for id in 1..=3 {
        peer.send(Frame::Response(wire::Reply {
            id,
            metadata: wire::MetadataRef::EMPTY,
            body_len: 4 << 20,
            chunk: &[],
        }))
        .await;
    }
    for n in 0..17 {
        peer.send(Frame::Body { id: 1 + n % 2, chunk: &[7; 64 * 1024] }).await;
    }
    let error = calls[0].error().await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::Answered));
    settle().await;
    assert_eq!(calling.session.config().in_use(), (2, 2 + (512 << 10)));
    calls[1].cancel();
    settle().await;
    assert_eq!(calling.session.config().in_use(), (1, 1));
    peer.send(Frame::Body { id: 3, chunk: &[7; 64 * 1024] }).await;
    settle().await;
    drop(peer);
    assert_eq!(calls[2].error().await.kind(), ErrorKind::ConnectionLost);
    settle().await;
    assert_eq!(calling.session.config().in_use(), (0, 0));
}

/// Each stream is closed as soon as it is there. Gives how many were opened.
async fn closed_at_once(calling: &mut Calling, call: &Ongoing, hello: bool) -> (usize, RpcError) {
    let mut opened = 0;
    loop {
        tokio::select! {
            biased;
            (mut peer, _) = calling.accept(PIPE) => {
                opened += 1;
                if hello {
                    peer.hello().await;
                }
            }
            error = call.error() => return (opened, error),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_each_stream_at_once_gets_three() {
    for hello in [false, true] {
        let mut calling = Calling::new(Limits::default());
        let call = calling.call(b"x", LONG);
        let began = Instant::now();
        let (opened, error) = closed_at_once(&mut calling, &call, hello).await;
        assert!(opened <= 3, "{opened}");
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
        assert!(began.elapsed() < Duration::from_secs(1));
        settle().await;
        assert_eq!(calling.session.config().in_use(), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_room_counts_the_streams_that_are_lost() {
    // It waits for the hello of a server that may take more than the default.
    let limits = Limits { max_message: 16 << 20, ..Limits::default() };
    let mut calling = Calling::new(limits);
    let call = calling.call(&vec![0; 5 << 20], LONG);
    let (opened, error) = closed_at_once(&mut calling, &call, false).await;
    assert_eq!((opened, error.kind(), error.delivery()), (3, ErrorKind::ConnectionLost, Delivery::NeverSent));
    settle().await;
    assert_eq!(calling.session.config().in_use(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_at_once_fails_the_call() {
    for reason in [GoAwayReason::ShuttingDown, GoAwayReason::Replaced, GoAwayReason::Idle, GoAwayReason::Unknown(99)] {
        let mut calling = Calling::new(Limits::default());
        let call = calling.call(b"x", LONG);
        let (mut peer, _) = calling.accept(PIPE).await;
        peer.hello().await;
        for _ in 0..100 {
            peer.send(Frame::GoAway { last_call_id: 0, reason, message: "\u{1b}[2J" }).await;
        }
        let error = call.error().await;
        assert_eq!(error.delivery(), Delivery::NeverSent);
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
        // All that was sent, and the end: no stream is opened for nothing.
        peer.rest().await;
        assert!(timeout(Duration::from_secs(60), calling.asked.recv()).await.is_err());
        assert_eq!(calling.session.config().in_use(), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_room_counts_the_times_it_was_sent_away() {
    let limits = Limits { max_message: 16 << 20, ..Limits::default() };
    let mut calling = Calling::new(limits);
    let call = calling.call(&vec![0; 5 << 20], LONG);
    let mut peers = Vec::new();
    let error = loop {
        tokio::select! {
            biased;
            (mut peer, _) = calling.accept(PIPE) => {
                // It takes more than the default, and so much that the next stream is wanted before it is said.
                let reason = GoAwayReason::Replaced;
                let mut bytes = Vec::new();
                wire::encode_hello(&mut bytes, &Hello { max_message: 1 << 30, ..Hello::default() }).unwrap();
                wire::encode_go_away(&mut bytes, u64::MAX, reason, "");
                peer.send_bytes(&bytes).await;
                peers.push(peer);
            }
            error = call.error() => break error,
        }
    };
    assert_eq!((peers.len(), error.kind(), error.delivery()), (3, ErrorKind::ConnectionLost, Delivery::NeverSent));
}

#[tokio::test(start_paused = true)]
async fn streams_that_went_away_and_never_answer_are_bounded() {
    let mut calling = Calling::new(Limits::default());
    let (mut calls, mut peers) = (Vec::new(), Vec::new());
    for n in 0..10 {
        calls.push(calling.call(b"x", LONG));
        let (mut peer, _) = calling.accept(PIPE).await;
        peer.hello().await;
        assert!(matches!(peer.answer().await, Some(Got::Request { id: 1, .. })), "{n}");
        peer.send(Frame::GoAway { last_call_id: 1, reason: GoAwayReason::Replaced, message: "" }).await;
        settle().await;
        peers.push(peer);
    }
    // The last four are waited for; the older ones were left.
    for (n, call) in calls.iter().enumerate() {
        let result = timeout(Duration::from_secs(1), call.result()).await;
        assert_eq!(result.is_ok(), n < 6, "{n}: {result:?}");
    }
    assert_eq!(calling.session.config().in_use(), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn calls_that_come_and_go_do_not_pile_up_at_a_server_that_does_not_read() {
    let mut calling = Calling::new(Limits::default());
    let first = calling.call(&[1; 10_000], LONG);
    let (mut peer, reads) = calling.accept(1024).await;
    peer.hello().await;
    settle().await;
    let mut queued = 0;
    for _ in 0..10_000 {
        let call = calling.call(&[1; 10_000], LONG);
        queued += usize::from(call.slot.place() == Some(Place::Queued));
        call.cancel();
    }
    // 100 MB were asked for: a third of it is let in, the rest waits its turn.
    assert!((6_000..7_000).contains(&queued), "{queued}");
    assert_eq!(first.error().await.kind(), ErrorKind::DeadlineExceeded);
    settle().await;
    assert_eq!(calling.session.config().in_use(), (0, 0));
    assert!(reads.count() < 100, "{}", reads.count());
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_takes_everything_does_not_lift_our_own_limits() {
    let mut calling = Calling::new(Limits { max_message: 1 << 20, ..Limits::default() });
    let first = calling.call(b"x", LONG);
    let (mut peer, _) = calling.accept(16 << 20).await;
    let (max_calls, max_message, max_bytes_in_flight) = (u64::MAX, u64::MAX, u64::MAX);
    peer.send(Frame::Hello(Hello { max_calls, max_message, max_bytes_in_flight, ..Hello::default() })).await;
    settle().await;
    let calls: Vec<_> = (0..1023).map(|_| calling.call(b"x", LONG)).collect();
    let error = calling.call(b"x", LONG).error().await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::NeverSent));
    drop((first, calls));
    // Bytes: 64 MiB are let go, the next call waits.
    let mut calling = Calling::new(Limits::default());
    let first = calling.call(&vec![1; 4 << 20], LONG);
    let (mut peer, _) = calling.accept(PIPE).await;
    peer.send(Frame::Hello(Hello { max_calls, max_message, max_bytes_in_flight, ..Hello::default() })).await;
    let calls: Vec<_> = (0..16).map(|_| calling.call(&vec![1; 4 << 20], LONG)).collect();
    settle().await;
    assert_eq!(calling.session.config().in_use(), (17, 64 << 20));
    assert_eq!(calls[15].slot.place(), Some(Place::Queued));
    first.cancel();
    assert!(matches!(calls[15].slot.place(), Some(Place::Mux { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_takes_little_is_kept_to() {
    let mut calling = Calling::new(Limits::default());
    let first = calling.call(b"x", LONG);
    let (mut peer, _) = calling.accept(PIPE).await;
    let hello = Hello { max_calls: 2, max_bytes_in_flight: 65_536, ..Hello::default() };
    peer.send(Frame::Hello(hello)).await;
    settle().await;
    let error = calling.call(&[1; 65_537], LONG).error().await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::TooLarge, Delivery::NeverSent));
    let second = calling.call(b"yy", LONG);
    let error = calling.call(b"x", LONG).error().await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::NeverSent));
    first.cancel();
    let third = calling.call(&[1; 65_536], LONG);
    settle().await;
    assert_eq!(third.slot.place(), Some(Place::Queued), "the bytes in flight leave no room");
    second.cancel();
    settle().await;
    assert!(matches!(third.slot.place(), Some(Place::Mux { .. })));
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_connection_are_bounded() {
    let calling = Calling::new(Limits::default());
    let waiting: Vec<_> = (0..1024).map(|_| calling.call(b"x", LONG)).collect();
    let error = calling.call(b"x", LONG).error().await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::NeverSent));
    sleep(LONG).await;
    for call in &waiting {
        assert_eq!(call.error().await.kind(), ErrorKind::DeadlineExceeded);
    }
    assert_eq!(calling.session.config().in_use(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn calls_on_a_stream_that_was_left_count_for_the_peer_until_they_end() {
    let mut calling = Calling::new(Limits { max_calls_per_peer: 2, ..Limits::default() });
    let calls = [calling.call(b"x", LONG), calling.call(b"y", LONG)];
    let (mut peer, _) = calling.accept(64 * 1024).await;
    peer.hello().await;
    settle().await;
    peer.send(Frame::GoAway { last_call_id: 2, reason: GoAwayReason::Idle, message: "" }).await;
    settle().await;
    let waiting = calling.call(b"z", LONG);
    let (_other, _) = calling.accept(64 * 1024).await;
    settle().await;
    let error = waiting.error().await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::NeverSent));
    peer.respond(1, b"x").await;
    calls[0].reply().await;
    let more = calling.call(b"z", LONG);
    settle().await;
    assert!(matches!(more.slot.place(), Some(Place::Mux { .. })));
}
