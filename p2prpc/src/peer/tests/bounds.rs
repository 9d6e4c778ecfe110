//! What a peer that calls can make a node keep and do.

use std::time::Duration;

use tokio::time::sleep;

use super::peer::{Got, request};
use super::service::encoded;
use super::*;
use crate::wire::{self, ErrorCode, Frame, GoAwayReason, Hello};

const MIB: usize = 1 << 20;

async fn greeted(limits: Limits, pipe: usize) -> Served {
    let mut served = Served::with_pipe(limits, pipe);
    served.peer.hello().await;
    served
}

/// What the node says to this before it closes the stream.
async fn farewell(mut served: Served) -> (GoAwayReason, String) {
    match served.peer.rest().await.pop() {
        Some(Got::GoAway { reason, message, .. }) => (reason, message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_read_is_not_read_from_past_a_mebibyte_of_answers() {
    let mut served = greeted(Limits::default(), 64 * 1024).await;
    let body = encoded(&16_000_u32);
    let requests: Vec<u8> =
        (1..=1000).flat_map(|id| request(id, "Probe.Big", None, body.len() as u64, &body)).collect();
    served.peer.send_bytes(&requests).await;
    settle().await;
    let started = served.probe.started();
    // The pipe's own 64 KiB, the mebibyte, and what one turn may add.
    assert!((60..=72 + 64).contains(&started), "{started}");
    let (calls, bytes, replies) = served.account.in_use();
    assert_eq!((calls, bytes), (0, 0));
    assert!(replies <= 3 * MIB, "{replies}");
    // Reading goes on as the caller reads.
    for _ in 0..1000 {
        assert!(matches!(served.peer.answer().await, Some(Got::Response { .. })));
    }
    settle().await;
    assert_eq!(served.account.in_use(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_when_all_answers_could_be_written_at_once() {
    let mut served = greeted(Limits::default(), 64 * MIB).await;
    let body = encoded(&300_000_u32);
    let requests: Vec<u8> = (1..=100).flat_map(|id| request(id, "Probe.Big", None, body.len() as u64, &body)).collect();
    served.peer.send_bytes(&requests).await;
    settle().await;
    assert_eq!(served.probe.started(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_read_does_not_count_as_slow() {
    let mut served = greeted(Limits::default(), 16 * 1024).await;
    let text = encoded(&"x".repeat(10_000));
    served.peer.begin(1, "Probe.Echo", text.len() as u64, &text[..1000]).await;
    served.peer.request(2, "Probe.Big", &encoded(&2_000_000_u32)).await;
    // Longer than a body may stand still, and the answers are taken slowly all the while.
    for _ in 0..10 {
        sleep(Duration::from_secs(3)).await;
        served.peer.skip(70_000).await;
    }
    served.peer.send(Frame::Body { id: 1, chunk: &text[1000..] }).await;
    served.peer.skip(2_000_000 - 700_000).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(served.probe.started(), 2, "the first call was dropped");
    assert_eq!(served.account.in_use().1, 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_bodies_that_are_announced_and_never_come_are_refused_past_the_limit_on_bytes() {
    let mut served = greeted(Limits::default(), 64 * 1024).await;
    for id in 1..=1000 {
        served.peer.begin(id, "Probe.Echo", 4 * MIB as u64, &[]).await;
    }
    let refused = Got::Error { id: 17, code: ErrorCode::Overloaded, delivery: wire::Delivery::NeverSent };
    assert_eq!(served.peer.answer().await, Some(refused));
    settle().await;
    assert_eq!(served.account.in_use(), (16, 64 * MIB, 0));
    // They stand still for ten seconds, and the stream is as good as before.
    sleep(Duration::from_secs(11)).await;
    assert_eq!(served.account.in_use(), (0, 0, 0));
    served.peer.request(1001, "Probe.Echo", &encoded(&"x")).await;
    loop {
        match served.peer.answer().await {
            Some(Got::Error { .. }) => {}
            other => break assert!(matches!(other, Some(Got::Response { id: 1001, .. })), "{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refused_bodies_need_not_come_however_many_there_are() {
    let mut served = greeted(Limits::default(), 64 * 1024).await;
    for id in 1..=3000 {
        served.peer.begin(id, "Probe.Echo", 5 * MIB as u64, &[]).await;
        let refused = Got::Error { id, code: ErrorCode::TooLarge, delivery: wire::Delivery::NeverSent };
        assert_eq!(served.peer.answer().await, Some(refused));
    }
    served.peer.request(3001, "Probe.Echo", &encoded(&"x")).await;
    assert!(matches!(served.peer.answer().await, Some(Got::Response { id: 3001, .. })));
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_refused_call_is_let_go_by() {
    let mut served = greeted(Limits::default(), 64 * 1024).await;
    served.peer.begin(1, "Probe.Echo", 5 * MIB as u64, &[1; 1000]).await;
    assert!(matches!(served.peer.answer().await, Some(Got::Error { id: 1, code: ErrorCode::TooLarge, .. })));
    for _ in 0..100 {
        served.peer.send(Frame::Body { id: 1, chunk: &[1; 60_000] }).await;
    }
    served.peer.request(2, "Probe.Echo", &encoded(&"x")).await;
    assert!(matches!(served.peer.answer().await, Some(Got::Response { id: 2, .. })));
    assert_eq!(served.account.in_use(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn frames_of_calls_that_are_over_are_let_go_by() {
    let mut served = greeted(Limits::default(), 64 * 1024).await;
    served.peer.request(5, "Probe.Echo", &encoded(&"x")).await;
    assert!(matches!(served.peer.answer().await, Some(Got::Response { id: 5, .. })));
    served.peer.send(Frame::Body { id: 5, chunk: b"late" }).await;
    served.peer.send(Frame::Cancel { id: 5 }).await;
    served.peer.send(Frame::Cancel { id: 4 }).await;
    served.peer.request(6, "Probe.Echo", &encoded(&"x")).await;
    assert!(matches!(served.peer.answer().await, Some(Got::Response { id: 6, .. })));
}

/// How long it takes until so many calls are made and cancelled, each after some that are answered.
async fn time_of_cancelled(calls: u64, answered: u64) -> Duration {
    let mut served = greeted(Limits::default(), 64 * 1024).await;
    let (begun, mut id) = (tokio::time::Instant::now(), 0);
    for _ in 0..calls {
        for _ in 0..answered {
            id += 1;
            served.peer.request(id, "Probe.Echo", &encoded(&"x")).await;
            assert!(matches!(served.peer.answer().await, Some(Got::Response { .. })));
        }
        id += 1;
        served.peer.request(id, "Probe.Wait", &encoded(&"x")).await;
        served.peer.send(Frame::Cancel { id }).await;
    }
    served.peer.request(id + 1, "Probe.Echo", &encoded(&"x")).await;
    assert!(matches!(served.peer.answer().await, Some(Got::Response { .. })));
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_made_to_be_cancelled_are_read_at_a_bounded_rate() {
    let took = time_of_cancelled(21_024, 0).await;
    assert!((Duration::from_millis(1_950)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_of_which_half_are_cancelled_are_read_as_they_come() {
    let took = time_of_cancelled(5_000, 1).await;
    assert!(took < Duration::from_millis(50), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_byte_past_the_announced_body_ends_the_stream() {
    let mut served = greeted(Limits::default(), 64 * 1024).await;
    served.peer.begin(1, "Probe.Echo", 10, &[1; 5]).await;
    served.peer.send(Frame::Body { id: 1, chunk: &[1; 6] }).await;
    assert_eq!(farewell(served).await, (GoAwayReason::ProtocolError, "a body is longer than announced".into()));
}

#[tokio::test(start_paused = true)]
async fn calls_past_the_limit_are_refused_and_the_rest_go_on() {
    let mut served = greeted(Limits::default(), MIB).await;
    for id in 1..=1030 {
        served.peer.request(id, "Probe.Wait", &encoded(&"x")).await;
    }
    for id in 1025..=1030 {
        let refused = Got::Error { id, code: ErrorCode::Overloaded, delivery: wire::Delivery::NeverSent };
        assert_eq!(served.peer.answer().await, Some(refused));
    }
    assert_eq!((served.probe.started(), served.account.in_use().0), (1024, 1024));
    served.peer.send(Frame::Cancel { id: 7 }).await;
    settle().await;
    served.peer.request(1031, "Probe.Echo", &encoded(&"x")).await;
    assert!(matches!(served.peer.answer().await, Some(Got::Response { id: 1031, .. })));
    drop(served.peer);
    settle().await;
    assert_eq!((served.probe.alive(), served.account.in_use()), (0, (0, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_all_streams_of_a_peer_count_together() {
    let limits = Limits { max_calls_per_peer: 4, ..Limits::default() };
    let mut served = greeted(limits, MIB).await;
    let mut other = served.another(MIB);
    other.hello().await;
    for id in 1..=3 {
        served.peer.request(id, "Probe.Wait", &encoded(&"x")).await;
        other.request(id, "Probe.Wait", &encoded(&"x")).await;
        settle().await;
    }
    assert!(matches!(served.peer.answer().await, Some(Got::Error { id: 3, code: ErrorCode::Overloaded, .. })));
    assert!(matches!(other.answer().await, Some(Got::Error { id: 3, code: ErrorCode::Overloaded, .. })));
    assert_eq!(served.probe.most(), 4);
}

/// Handlers whose drop takes long, and many more of them than fit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_requests_and_cancels_starts_no_more_handlers_than_the_limit() {
    let limits = Limits { max_calls_per_peer: 16, ..Limits::default() };
    let mut served = greeted(limits, MIB).await;
    let body = encoded(&"x");
    let mut storm = Vec::new();
    for id in 1..=2000 {
        storm.extend(request(id, "Probe.Reluctant", None, body.len() as u64, &body));
        wire::encode_cancel(&mut storm, id).unwrap();
    }
    served.peer.send_bytes(&storm).await;
    served.peer.request(2001, "Probe.Fail", &body).await;
    while !matches!(served.peer.answer().await, Some(Got::Error { id: 2001, .. })) {}
    assert!(served.probe.most() <= 16, "{}", served.probe.most());
    drop(served.peer);
    while served.account.in_use() != (0, 0, 0) || served.probe.alive() > 0 {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn answers_to_a_peer_that_does_not_read_wait_for_room_and_past_that_are_lost() {
    // All handlers are under way before the first of them has its answer.
    let mut served = greeted(Limits::default(), 64 * 1024).await;
    let len = 1_000_000_u32;
    for id in 1..=200 {
        served.peer.request(id, "Probe.Later", &encoded(&len)).await;
    }
    sleep(Duration::from_secs(5)).await;
    // 64 MiB are on their way, and 64 MiB wait.
    let (calls, _, replies) = served.account.in_use();
    assert!((127 * MIB..129 * MIB).contains(&replies), "{replies}");
    assert!((60..70).contains(&calls), "{calls}");
    let (mut whole, mut lost) = (0, 0);
    while whole + lost < 200 {
        match served.peer.answer().await {
            Some(Got::Response { .. }) => whole += 1,
            Some(Got::Error { code: ErrorCode::Overloaded, delivery: wire::Delivery::Answered, .. }) => lost += 1,
            Some(Got::Body { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!((130..140).contains(&whole), "{whole}");
}

#[tokio::test(start_paused = true)]
async fn answers_to_all_peers_together_wait_for_room() {
    let limits = Limits { max_bytes: 8 * MIB, ..Limits::default() };
    let served = greeted(limits, 1024).await;
    let mut peers = Vec::new();
    for _ in 0..8 {
        let (session, _) = session(Limits::default());
        let account = served.server.accounts().open(session.peer(), None);
        let (ours, theirs) = tokio::io::duplex(1024);
        serve_native(served.server.clone(), account.clone(), session.peer(), ours.compat());
        let mut peer = Peer::new(theirs);
        peer.hello().await;
        for id in 1..=2 {
            peer.request(id, "Probe.Later", &encoded(&1_000_000_u32)).await;
        }
        peers.push((peer, account));
    }
    sleep(Duration::from_secs(5)).await;
    // `in_use` gives the largest of the peer's own count and that of all: 9 on their way, 7 wait.
    let (calls, _, replies) = served.account.in_use();
    assert_eq!((calls, replies), (7, 16 * 1_000_005));
    // Those who read get all of theirs.
    for (mut peer, account) in peers {
        let mut bytes = 0;
        while bytes < 2_000_000 {
            match peer.answer().await {
                Some(Got::Body { chunk, .. }) => bytes += chunk,
                Some(Got::Response { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        settle().await;
        drop((peer, account));
    }
    settle().await;
    assert_eq!(served.account.in_use(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_past_what_the_caller_takes_is_not_sent() {
    for hello in
        [Hello { max_message: 65_536, ..Hello::default() }, Hello { max_bytes_in_flight: 65_536, ..Hello::default() }]
    {
        let mut served = Served::with_pipe(Limits::default(), MIB);
        served.peer.send(Frame::Hello(hello)).await;
        for (id, method) in [(1, "Probe.Big"), (2, "Probe.Later")] {
            served.peer.request(id, method, &encoded(&65_536_u32)).await;
            let refused = Got::Error { id, code: ErrorCode::TooLarge, delivery: wire::Delivery::Answered };
            assert_eq!(served.peer.answer().await, Some(refused));
        }
        settle().await;
        assert_eq!(served.account.in_use(), (0, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_takes_more_than_there_is_changes_nothing() {
    let mut served = Served::with_pipe(Limits::default(), MIB);
    let lies = Hello {
        max_calls: u64::MAX,
        max_message: u64::MAX,
        max_bytes_in_flight: u64::MAX,
        codecs: (0..16).map(|n| u64::MAX - n).collect(),
        ..Hello::default()
    };
    served.peer.send(Frame::Hello(lies)).await;
    served.peer.request(1, "Probe.Big", &encoded(&5_000_000_u32)).await;
    assert!(matches!(served.peer.answer().await, Some(Got::Error { id: 1, code: ErrorCode::TooLarge, .. })));
    for id in 2..=1100 {
        served.peer.request(id, "Probe.Wait", &encoded(&"x")).await;
    }
    assert!(matches!(served.peer.answer().await, Some(Got::Error { id: 1026, code: ErrorCode::Overloaded, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_its_own_call_and_nothing_else() {
    let mut served = greeted(Limits::default(), MIB).await;
    served.peer.request(1, "Probe.Wait", &encoded(&"x")).await;
    served.peer.request(2, "Probe.Panic", &encoded(&"secret")).await;
    let panicked = Got::Error { id: 2, code: ErrorCode::Panicked, delivery: wire::Delivery::Answered };
    assert_eq!(served.peer.answer().await, Some(panicked));
    served.peer.request(3, "Probe.Echo", &encoded(&"x")).await;
    assert!(matches!(served.peer.answer().await, Some(Got::Response { id: 3, .. })));
    assert_eq!((served.probe.alive(), served.account.in_use().0), (1, 1));
}
