//! A connection falls silent, and calls go on on another.

use std::time::Duration;

use super::peer::Got;
use super::*;
use crate::clock::now;
use crate::error::{Delivery, ErrorKind};
use crate::peer::Wanted;

const PIPE: usize = 64 * 1024;
const LONG: Duration = Duration::from_secs(30);

/// A call under way on a connection, and the other connection.
async fn called(again: bool) -> (Calling, Peer, Ongoing, Arc<Connection>) {
    let mut calling = Calling { again, ..Calling::new(Limits::default()) };
    let call = calling.call(b"x", LONG);
    let (mut peer, _) = calling.accept(PIPE).await;
    peer.hello().await;
    assert!(matches!(peer.answer().await, Some(Got::Request { id: 1, .. })));
    let silent = std::mem::replace(&mut calling.on, Connection::of_test(2));
    (calling, peer, call, silent)
}

#[tokio::test(start_paused = true)]
async fn new_calls_go_on_and_one_that_was_sent_may_still_be_answered() {
    let (mut calling, mut old, call, silent) = called(false).await;
    silent.set_suspected(true);
    assert!(calling.session.leave(&silent));
    assert!(!calling.session.leave(&silent), "no call goes out on it any more");
    let next = calling.call(b"y", LONG);
    let (mut new, _) = calling.accept(PIPE).await;
    new.hello().await;
    assert!(matches!(new.answer().await, Some(Got::Request { id: 1, .. })));
    new.respond(1, b"new").await;
    assert_eq!(next.reply().await, b"new");
    old.respond(1, b"old").await;
    assert_eq!(call.reply().await, b"old");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_its_caller_makes_again_ends_at_once_and_says_that_it_may_have_run() {
    let (calling, mut old, call, silent) = called(true).await;
    calling.session.leave(&silent);
    let error = call.error().await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun));
    assert_eq!(old.answer().await, Some(Got::Cancel { id: 1 }), "the handler is stopped, if the peer hears");
    settle().await;
    assert_eq!(calling.session.config().in_use(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_stream_gets_one_on_the_other_connection() {
    let (mut calling, _old, _call, silent) = called(false).await;
    calling.session.leave(&silent);
    silent.set_suspected(true);
    let waits = calling.call(b"y", LONG);
    // The silent one opens a stream that was asked for before, once the other has one.
    let (mut new, _) = calling.accept(PIPE).await;
    let (late, _far) = tokio::io::duplex(PIPE);
    assert!(calling.session.attach(&silent, late.compat()).is_none());
    new.hello().await;
    assert!(matches!(new.answer().await, Some(Got::Request { .. })));
    new.respond(1, b"z").await;
    assert_eq!(waits.reply().await, b"z");
}

#[tokio::test(start_paused = true)]
async fn bytes_under_way_on_the_stream_that_was_left_count_for_the_peer() {
    static BODY: [u8; 100_000] = [1; 100_000];
    let mut calling = Calling::new(Limits { max_bytes_per_peer: 128 * 1024, ..Limits::default() });
    let first = calling.call(&BODY, LONG);
    let (mut old, _) = calling.accept(PIPE).await;
    old.hello().await;
    settle().await;
    let silent = std::mem::replace(&mut calling.on, Connection::of_test(2));
    calling.session.leave(&silent);
    let second = calling.call(&BODY, LONG);
    let (mut new, _) = calling.accept(PIPE).await;
    new.hello().await;
    settle().await;
    assert_eq!(calling.session.config().in_use().1, BODY.len(), "the second waits for room");
    first.cancel();
    assert!(matches!(new.answer().await, Some(Got::Request { .. })), "and has it now");
    new.respond(1, b"z").await;
    assert_eq!(second.reply().await, b"z");
}

#[tokio::test(start_paused = true)]
async fn small_calls_pass_large_ones_that_wait_for_room_wherever_they_wait() {
    static BODY: [u8; 50_000] = [1; 50_000];
    for limits in [
        Limits { max_bytes_per_peer: 64 * 1024, ..Limits::default() },
        Limits { max_bytes: 64 * 1024, ..Limits::default() },
    ] {
        let mut calling = Calling::new(limits);
        // All of them are there before the stream.
        let _first = calling.call(&BODY, LONG);
        let large = calling.call(&BODY, LONG);
        let small = calling.call(b"x", LONG);
        let (mut peer, _) = calling.accept(PIPE).await;
        peer.hello().await;
        let mut requests = 0;
        while requests < 2 {
            let got = peer.answer().await;
            requests += u32::from(matches!(got, Some(Got::Request { .. })));
            assert!(got.is_some(), "the small one waits");
        }
        peer.respond(2, b"y").await;
        assert_eq!(small.reply().await, b"y");
        peer.respond(1, b"z").await;
        while !matches!(peer.answer().await, Some(Got::Request { id: 3, .. })) {}
        peer.respond(3, b"w").await;
        assert_eq!(large.reply().await, b"w");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_after_a_silence_and_one_that_is_not_answered_ask_for_a_sign_of_life() {
    let mut calling = Calling::new(Limits::default());
    let call = calling.call(b"x", Duration::from_secs(2));
    let on = calling.on.clone();
    let (mut peer, _) = calling.accept(PIPE).await;
    peer.hello().await;
    assert_eq!(on.take_wanted(), None, "the connection is new");
    assert_eq!(call.error().await.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(on.take_wanted(), Some(Wanted::Now));
    on.note_pinged();
    let busy = calling.call(b"y", Duration::from_secs(1));
    assert_eq!(on.take_wanted(), None, "it was heard a moment ago");
    tokio::time::advance(Duration::from_millis(600)).await;
    on.note_pinged();
    assert_eq!(busy.error().await.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(on.take_wanted(), None, "the peer is slow and not silent");
    tokio::time::advance(Duration::from_secs(5)).await;
    let _call = calling.call(b"z", LONG);
    assert_eq!(on.take_wanted(), Some(Wanted::Soon));
    assert!(on.heard() < now());
}

#[tokio::test(start_paused = true)]
async fn who_breaks_the_rules_before_anything_was_written_still_hears_a_hello_first() {
    let mut calling = Calling::new(Limits::default());
    let _unsent = calling.call(b"x", Duration::from_secs(10));
    let asking = calling.asked.recv().await.expect("the link is there");
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let mut peer = Peer::new(theirs);
    // It is there before the stream's task first runs.
    peer.respond(1, b"y").await;
    asking.attach(&calling.on, ours.compat());
    assert_eq!(peer.next().await, Some(Got::Hello));
    assert!(matches!(peer.next().await, Some(Got::GoAway { .. })));
}
