//! Chunks that come in parts, and calls that are alone on their stream.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::peer::Got;
use super::service::encoded;
use super::*;
use crate::error::ErrorKind;
use crate::wire::{self, Frame};

const PIPE: usize = 1024 * 1024;
const LONG: Duration = Duration::from_secs(3600);

fn random_body(random: &mut StdRng) -> Vec<u8> {
    let len = [10, 5_000, 70_000, 300_000][random.random_range(0..4)];
    (0..random.random_range(1..=len)).map(|_| random.random()).collect()
}

/// The frames of a body behind its head, in chunks of any size.
fn chunks(random: &mut StdRng, id: u64, mut body: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let (chunk, rest) = body.split_at(random.random_range(1..=body.len().min(wire::MAX_CHUNK)));
        wire::encode_body(&mut frames, id, chunk).unwrap();
        body = rest;
    }
    frames
}

/// Send bytes in parts, each of which is read before the next comes.
async fn dribble(random: &mut StdRng, peer: &mut Peer, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let most = [3, 5_000, 100_000][random.random_range(0..3)];
        let (part, rest) = bytes.split_at(random.random_range(1..=bytes.len().min(most)));
        peer.send_bytes(part).await;
        settle().await;
        bytes = rest;
    }
}

#[tokio::test(start_paused = true)]
async fn replies_are_whole_however_their_frames_are_cut() {
    let mut random = StdRng::seed_from_u64(5);
    let mut calling = Calling::new(Limits::default());
    let first = calling.call(b"x", LONG);
    let (mut peer, _) = calling.accept(PIPE).await;
    peer.hello().await;
    assert!(matches!(peer.answer().await, Some(Got::Request { id: 1, .. })));
    peer.respond(1, b"y").await;
    assert_eq!(first.reply().await, b"y");
    for id in 2..60 {
        let call = calling.call(b"x", LONG);
        let body = random_body(&mut random);
        let (chunk, rest) = body.split_at(random.random_range(0..=body.len().min(1_000)));
        peer.send(Frame::Response(wire::Reply {
            id,
            metadata: wire::MetadataRef::EMPTY,
            body_len: body.len() as u64,
            chunk,
        }))
        .await;
        let frames = chunks(&mut random, id, rest);
        dribble(&mut random, &mut peer, &frames).await;
        assert!(call.reply().await == body, "reply {id} is another");
    }
    assert_eq!(calling.session.config().in_use(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn arguments_are_whole_however_their_frames_are_cut() {
    let mut random = StdRng::seed_from_u64(6);
    let mut served = Served::with_pipe(Limits::default(), PIPE);
    served.peer.hello().await;
    for id in 1..60 {
        let len = random_body(&mut random).len();
        let body = encoded(&"x".repeat(len));
        let (chunk, rest) = body.split_at(random.random_range(0..=body.len().min(1_000)));
        served.peer.begin(id, "Probe.Echo", body.len() as u64, chunk).await;
        let frames = chunks(&mut random, id, rest);
        dribble(&mut random, &mut served.peer, &frames).await;
        let mut came = 0;
        while came < body.len() {
            match served.peer.answer().await {
                Some(Got::Response { chunk, .. } | Got::Body { chunk, .. }) => came += chunk,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(came, body.len());
    }
    settle().await;
    assert_eq!(served.account.in_use(), (0, 0, 0));
}

/// All of a chunk but its last bytes.
fn begun_chunk(id: u64, len: usize, there: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    wire::encode_body(&mut frame, id, &vec![1; len]).unwrap();
    frame.truncate(frame.len() - len + there);
    frame
}

#[tokio::test(start_paused = true)]
async fn a_chunk_past_the_announced_body_ends_the_stream_before_it_is_whole() {
    let mut served = Served::new(Limits::default());
    served.peer.hello().await;
    served.peer.begin(1, "Probe.Echo", 10, &[1; 5]).await;
    served.peer.send_bytes(&begun_chunk(1, 6, 1)).await;
    let said = served.peer.rest().await;
    assert!(
        matches!(said.last(), Some(Got::GoAway { message, .. }) if message.contains("longer than announced")),
        "{said:?}"
    );

    let mut calling = Calling::new(Limits::default());
    let call = calling.call(b"x", LONG);
    let (mut peer, _) = calling.accept(PIPE).await;
    peer.hello().await;
    assert!(matches!(peer.answer().await, Some(Got::Request { id: 1, .. })));
    peer.send(Frame::Response(wire::Reply { id: 1, metadata: wire::MetadataRef::EMPTY, body_len: 10, chunk: &[1; 5] }))
        .await;
    peer.send_bytes(&begun_chunk(1, 6, 1)).await;
    let error = call.error().await;
    assert!(error.to_string().contains("longer than announced"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_in_the_middle_of_a_chunk_takes_nothing_with_it() {
    let mut calling = Calling::new(Limits::default());
    let call = calling.call(b"x", LONG);
    let (mut peer, _) = calling.accept(PIPE).await;
    peer.hello().await;
    assert!(matches!(peer.answer().await, Some(Got::Request { id: 1, .. })));
    peer.send(Frame::Response(wire::Reply { id: 1, metadata: wire::MetadataRef::EMPTY, body_len: 60_000, chunk: &[] }))
        .await;
    peer.send_bytes(&begun_chunk(1, 50_000, 20_000)).await;
    settle().await;
    assert_eq!(calling.session.config().in_use(), (1, 1 + 20_000));
    call.cancel();
    settle().await;
    peer.send_bytes(&[1; 10_000]).await;
    settle().await;
    assert_eq!(calling.session.config().in_use(), (0, 0));
    let next = calling.call(b"x", LONG);
    peer.send_bytes(&[1; 20_000]).await;
    peer.send(Frame::Body { id: 1, chunk: &[1; 10_000] }).await;
    peer.respond(2, b"y").await;
    assert_eq!(next.reply().await, b"y");
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_stops_ends_the_stream() {
    let mut served = Served::new(Limits::default());
    served.peer.hello().await;
    served.peer.begin(1, "Probe.Echo", 50_000, &[]).await;
    served.peer.send_bytes(&begun_chunk(1, 50_000, 20_000)).await;
    settle().await;
    // Enough for the body not to be slow, and too little for its chunk to end in time.
    for _ in 0..11 {
        sleep(Duration::from_secs(1)).await;
        served.peer.send_bytes(&[1]).await;
    }
    let said = served.peer.rest().await;
    assert!(matches!(said.last(), Some(Got::GoAway { message, .. }) if message.contains("stopped")), "{said:?}");
    assert_eq!(served.account.in_use(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_a_call_now_and_then_is_not_idle() {
    let mut calling = Calling::new(Limits::default());
    let mut call = calling.call(b"x", LONG);
    let (mut peer, _) = calling.accept(PIPE).await;
    peer.hello().await;
    for id in 1..100 {
        peer.respond(id, b"y").await;
        assert_eq!(call.reply().await, b"y");
        // Less than the time after which an idle stream is closed.
        sleep(Duration::from_secs(45)).await;
        call = calling.call(b"x", LONG);
    }
    assert!(calling.asked.try_recv().is_err(), "another stream was asked for");
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_alone_and_not_read_end_in_time() {
    let mut calling = Calling::new(Limits::default());
    let first = calling.call(b"x", LONG);
    let (mut peer, _) = calling.accept(100).await;
    peer.hello().await;
    assert!(matches!(peer.answer().await, Some(Got::Request { id: 1, .. })));
    peer.respond(1, b"y").await;
    assert_eq!(first.reply().await, b"y");
    // Each fits into the buffer of frames, and not into the pipe.
    for _ in 0..3 {
        let call = calling.call(&[1; 10_000], Duration::from_secs(5));
        assert_eq!(call.error().await.kind(), ErrorKind::DeadlineExceeded);
    }
    assert_eq!(calling.session.config().in_use(), (0, 0));
}
