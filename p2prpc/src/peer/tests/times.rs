//! What ends when its time is up. The clock is stopped: it moves when nothing else can.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::peer::{Got, request};
use super::service::encoded;
use super::*;
use crate::error::{Delivery, ErrorKind};
use crate::wire::{self, ErrorCode, GoAwayReason};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Within the second after this.
fn is_about(since: Instant, expected: Duration) -> bool {
    (expected..expected + s(1)).contains(&since.elapsed())
}

fn refused(id: u64, code: ErrorCode, delivery: wire::Delivery) -> Option<Got> {
    Some(Got::Error { id, code, delivery })
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_says_nothing_has_ten_seconds() {
    let mut served = Served::new(Limits::default());
    let began = Instant::now();
    let rest = served.peer.rest().await;
    assert!(matches!(&rest[..], [Got::GoAway { reason: GoAwayReason::ProtocolError, .. }]), "{rest:?}");
    assert!(is_about(began, s(10)), "{:?}", began.elapsed());
    assert!(served.stream.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_stops_in_the_middle_has_ten_seconds() {
    let mut served = Served::new(Limits::default());
    served.peer.hello().await;
    sleep(s(60)).await;
    let frame = request(1, "Probe.Echo", None, 100, &[7; 100]);
    served.peer.send_bytes(&frame[..50]).await;
    let began = Instant::now();
    let rest = served.peer.rest().await;
    assert!(matches!(&rest[..], [Got::GoAway { .. }]), "{rest:?}");
    assert!(is_about(began, s(10)), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_comes_a_byte_a_second_has_ten_seconds() {
    let mut served = Served::new(Limits::default());
    served.peer.hello().await;
    let began = Instant::now();
    for byte in request(1, "Probe.Echo", None, 100, &[7; 100]) {
        served.peer.send_bytes(&[byte]).await;
        sleep(s(1)).await;
        if served.stream.is_closed() {
            break;
        }
    }
    assert!(began.elapsed() < s(12), "{:?}", began.elapsed());
    assert!(served.stream.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_has_ten_seconds_and_the_stream_goes_on() {
    let mut served = Served::new(Limits::default());
    served.peer.hello().await;
    let began = Instant::now();
    served.peer.begin(1, "Probe.Echo", 100_000, &[7; 100]).await;
    sleep(s(9)).await;
    served.peer.send(wire::Frame::Body { id: 1, chunk: &[7; 100] }).await;
    assert_eq!(served.peer.answer().await, refused(1, ErrorCode::DeadlineExceeded, wire::Delivery::NeverSent));
    // It moved once after 9 s, and was too slow over all after 10.
    assert!(is_about(began, s(10)), "{:?}", began.elapsed());
    // What still comes of it is let go by.
    served.peer.send(wire::Frame::Body { id: 1, chunk: &[7; 1000] }).await;
    served.peer.request(2, "Probe.Echo", &encoded(&"still there")).await;
    assert!(matches!(served.peer.answer().await, Some(Got::Response { id: 2, .. })));
    assert_eq!(served.account.in_use(), (0, 0, 0));
    assert_eq!(served.probe.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_at_less_than_16_kib_a_second_is_dropped_and_a_faster_one_is_not() {
    for (rate, taken) in [(12 * 1024, false), (20 * 1024, true)] {
        let mut served = Served::new(Limits::default());
        served.peer.hello().await;
        let body = encoded(&"x".repeat(1 << 20));
        served.peer.begin(1, "Probe.Echo", body.len() as u64, &[]).await;
        let began = Instant::now();
        for chunk in body.chunks(rate) {
            sleep(s(1)).await;
            served.peer.send(wire::Frame::Body { id: 1, chunk }).await;
        }
        let answer = served.peer.answer().await;
        if taken {
            assert!(matches!(answer, Some(Got::Response { id: 1, .. })), "{answer:?}");
        } else {
            assert_eq!(answer, refused(1, ErrorCode::DeadlineExceeded, wire::Delivery::NeverSent));
        }
        assert!(began.elapsed() > s(50));
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_read_is_cut_off_after_thirty_seconds() {
    let mut served = Served::new(Limits::default());
    served.peer.hello().await;
    let began = Instant::now();
    served.peer.request(1, "Probe.Big", &encoded(&4_000_000_u32)).await;
    while !served.stream.is_closed() {
        sleep(s(1)).await;
    }
    assert!((s(30)..s(32)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(served.account.in_use(), (0, 0, 0));
    // It ran when there was something to do, and slept while there wasn't.
    assert!(served.reads.count() < 50, "{}", served.reads.count());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_reads_64_kib_in_thirty_seconds_is_kept() {
    let mut served = Served::with_pipe(Limits::default(), 16 * 1024);
    served.peer.hello().await;
    served.peer.request(1, "Probe.Big", &encoded(&1_000_000_u32)).await;
    for _ in 0..10 {
        sleep(s(25)).await;
        served.peer.skip(70_000).await;
    }
    assert!(!served.stream.is_closed());
    for _ in 0..3 {
        sleep(s(25)).await;
        served.peer.skip(30_000).await;
    }
    assert!(served.stream.is_closed());
}

#[tokio::test(start_paused = true)]
async fn the_longest_deadline_there_is_becomes_an_hour() {
    let mut served = Served::new(Limits::default());
    served.peer.hello().await;
    let began = Instant::now();
    let body = encoded(&"x");
    let longest = Duration::from_micros(u64::MAX - 1);
    let frame = request(1, "Probe.Wait", Some(longest), body.len() as u64, &body);
    served.peer.send_bytes(&frame).await;
    assert_eq!(served.peer.answer().await, refused(1, ErrorCode::DeadlineExceeded, wire::Delivery::MayHaveRun));
    assert!(is_about(began, s(3600)), "{:?}", began.elapsed());
    served.peer.request(2, "Probe.Wait", &body).await;
    assert_eq!(served.peer.answer().await, refused(2, ErrorCode::DeadlineExceeded, wire::Delivery::MayHaveRun));
    assert!(is_about(began, s(7200)), "{:?}", began.elapsed());
    settle().await;
    assert_eq!(served.probe.alive(), 0);
    assert_eq!(served.account.in_use(), (0, 0, 0));
    assert!(served.reads.count() < 50, "{}", served.reads.count());
}

#[tokio::test(start_paused = true)]
async fn a_longest_deadline_that_no_clock_has_is_no_deadline() {
    let limits = Limits { max_deadline: Duration::MAX, ..Limits::default() };
    let mut served = Served::new(limits);
    served.peer.hello().await;
    served.peer.request(1, "Probe.Later", &encoded(&3_u32)).await;
    assert!(matches!(served.peer.answer().await, Some(Got::Response { id: 1, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_zero_starts_no_handler() {
    let mut served = Served::new(Limits::default());
    served.peer.hello().await;
    let body = encoded(&"x");
    let frame = request(1, "Probe.Echo", Some(Duration::ZERO), body.len() as u64, &body);
    served.peer.send_bytes(&frame).await;
    assert_eq!(served.peer.answer().await, refused(1, ErrorCode::DeadlineExceeded, wire::Delivery::NeverSent));
    assert_eq!(served.probe.started(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_was_told_to_go_and_stays_is_cut_off() {
    let mut served = Served::new(Limits::default());
    served.peer.hello().await;
    settle().await;
    let began = Instant::now();
    served.stream.go_away(GoAwayReason::Replaced);
    assert!(matches!(served.peer.answer().await, Some(Got::GoAway { reason: GoAwayReason::Replaced, .. })));
    while timeout(s(1), served.peer.answer()).await.is_err() {
        let body = encoded(&"let me stay");
        served.peer.request(began.elapsed().as_secs() + 1, "Probe.Echo", &body).await;
    }
    assert!((s(10)..s(12)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(served.probe.started(), 0);
}

#[cfg(feature = "node")]
#[tokio::test(start_paused = true)]
async fn a_caller_that_makes_no_call_can_be_told_to_go_and_one_that_does_stays() {
    let mut served = Served::new(Limits::default());
    served.peer.hello().await;
    settle().await;
    sleep(s(100)).await;
    let since = Instant::now().into_std() - s(50);
    served.peer.request(1, "Probe.Echo", &encoded(&"busy")).await;
    assert!(matches!(served.peer.answer().await, Some(Got::Response { id: 1, .. })));
    served.stream.go_away_if_idle(since);
    assert!(timeout(s(20), served.peer.answer()).await.is_err(), "it was not idle");
    sleep(s(60)).await;
    served.stream.go_away_if_idle(Instant::now().into_std() - s(50));
    assert!(matches!(served.peer.answer().await, Some(Got::GoAway { reason: GoAwayReason::Idle, .. })));
    sleep(s(12)).await;
    assert!(served.stream.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_served_stream_without_work_sleeps() {
    let mut served = Served::new(Limits::default());
    served.peer.hello().await;
    settle().await;
    let before = served.reads.count();
    sleep(s(3600)).await;
    assert!(served.reads.count() - before < 3, "{}", served.reads.count() - before);
    assert!(!served.stream.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_has_ten_seconds() {
    let mut calling = Calling::new(Limits::default());
    let call = calling.call(b"x", s(100));
    let (mut peer, _) = calling.accept(64 * 1024).await;
    let began = Instant::now();
    let error = call.error().await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun));
    assert!(is_about(began, s(10)), "{:?}", began.elapsed());
    peer.rest().await;
    assert_eq!(calling.session.config().calls_under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_never_answers_costs_a_call_its_deadline() {
    let mut calling = Calling::new(Limits::default());
    let began = Instant::now();
    let call = calling.call(b"x", s(5));
    let (mut peer, reads) = calling.accept(64 * 1024).await;
    peer.hello().await;
    let error = call.error().await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::MayHaveRun));
    assert!(is_about(began, s(5)), "{:?}", began.elapsed());
    // It is told at once, and the stream closes once it has been idle.
    assert!(matches!(peer.answer().await, Some(Got::Request { id: 1, .. })));
    assert_eq!(peer.answer().await, Some(Got::Cancel { id: 1 }));
    assert!(is_about(began, s(5)), "{:?}", began.elapsed());
    assert_eq!(peer.answer().await, None);
    assert!(is_about(began, s(65)), "{:?}", began.elapsed());
    assert!(reads.count() < 30, "{}", reads.count());
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_stops_in_the_middle_of_a_frame_has_ten_seconds() {
    let mut calling = Calling::new(Limits::default());
    let call = calling.call(b"x", s(100));
    let (mut peer, _) = calling.accept(64 * 1024).await;
    peer.hello().await;
    peer.send_bytes(&[100, 3, 1]).await;
    let began = Instant::now();
    assert_eq!(call.error().await.kind(), ErrorKind::ConnectionLost);
    assert!(is_about(began, s(10)), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_kept_while_the_server_does_not_read() {
    let mut calling = Calling::new(Limits::default());
    let began = Instant::now();
    let first = calling.call(&[1; 10_000], s(20));
    let (mut peer, reads) = calling.accept(1024).await;
    peer.hello().await;
    settle().await;
    let second = calling.call(b"x", s(2));
    let error = second.error().await;
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(is_about(began, s(2)), "{:?}", began.elapsed());
    assert_eq!(first.error().await.kind(), ErrorKind::DeadlineExceeded);
    assert!(is_about(began, s(20)), "{:?}", began.elapsed());
    assert!(reads.count() < 30, "{}", reads.count());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_is_left_after_thirty_seconds() {
    let mut calling = Calling::new(Limits::default());
    let began = Instant::now();
    let call = calling.call(&vec![1; 1 << 20], s(100));
    let (mut peer, _) = calling.accept(1024).await;
    peer.hello().await;
    // The request was never sent as a whole: it is made again, on another stream.
    let (mut other, _) = calling.accept(64 * 1024).await;
    assert!(is_about(began, s(30)), "{:?}", began.elapsed());
    other.hello().await;
    assert!(matches!(other.answer().await, Some(Got::Request { id: 1, .. })));
    other.respond(1, b"y").await;
    assert_eq!(call.reply().await, b"y");
}

#[tokio::test(start_paused = true)]
async fn an_idle_time_that_no_clock_has_never_ends() {
    let (asks, _asked) = mpsc::unbounded_channel();
    let opener = Arc::new(Asks(asks));
    let config = SessionConfig::new(Limits::default(), Duration::MAX, false, opener.clone());
    let session = PeerSession::new(PeerId::random(), Arc::new(config), opener);
    let (ours, theirs) = tokio::io::duplex(1024);
    session.attach(&Connection::of_test(1), ours.compat());
    let mut peer = Peer::new(theirs);
    peer.hello().await;
    assert!(peer.is_silent(s(3600)).await);
}
