//! Callers that break the rules of streaming calls, or keep them and mean harm.

mod fuzz;

use std::time::Instant;

use futures::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::*;
use crate::accounts::Accounts;
use crate::call::Handle;
use crate::limits::Limits;
use crate::p2p_service;
use crate::service::Streaming;
use crate::wire::{MetadataRef, Role};

#[p2p_service(crate = "crate")]
trait Meant {
    async fn items(&self, count: u32, size: u32) -> impl Stream<Item = Vec<u8>>;
    async fn take(&self, items: Streaming<Vec<u8>>) -> u64;
    async fn leave(&self, items: Streaming<Vec<u8>>) -> u64;
    async fn echo(&self, items: Streaming<Vec<u8>>) -> impl Stream<Item = Vec<u8>>;
    async fn fail(&self) -> Result<impl Stream<Item = u8>, String>;
    async fn panic(&self) -> impl Stream<Item = u8>;
    async fn unary(&self) -> u8;
    /// An item of 1 KiB after the other, each one not there at once.
    async fn trickle(&self) -> impl Stream<Item = Vec<u8>>;
    async fn value(&self, items: Streaming<Vec<u8>>) -> Vec<u8>;
}

struct Here;

impl Meant for Here {
    async fn items(&self, count: u32, size: u32) -> impl Stream<Item = Vec<u8>> {
        futures::stream::iter((0..count).map(move |_| vec![7; size as usize % 100_000]))
    }

    async fn take(&self, items: Streaming<Vec<u8>>) -> u64 {
        items.count().await as u64
    }

    async fn leave(&self, items: Streaming<Vec<u8>>) -> u64 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(items);
        0
    }

    async fn echo(&self, items: Streaming<Vec<u8>>) -> impl Stream<Item = Vec<u8>> {
        items.filter_map(async |item| item.ok())
    }

    async fn fail(&self) -> Result<impl Stream<Item = u8>, String> {
        if true { Err("no".into()) } else { Ok(futures::stream::empty()) }
    }

    async fn panic(&self) -> impl Stream<Item = u8> {
        futures::stream::iter([1, 2]).map(|n| if n == 1 { n } else { panic!("on purpose") })
    }

    async fn unary(&self) -> u8 {
        1
    }

    async fn trickle(&self) -> impl Stream<Item = Vec<u8>> {
        futures::stream::repeat(()).then(async |()| {
            tokio::time::sleep(Duration::from_millis(1)).await;
            vec![7; 1024]
        })
    }

    async fn value(&self, _: Streaming<Vec<u8>>) -> Vec<u8> {
        vec![7; 1 << 20]
    }
}

/// A caller that says what it likes.
struct Caller {
    io: DuplexStream,
    account: Arc<PeerAccount>,
    served: tokio::task::JoinHandle<()>,
    running: Arc<AtomicUsize>,
    came: Vec<u8>,
}

fn caller_of(limits: Limits) -> Caller {
    let server = Arc::new(Server::new(PeerId::random(), limits.clone(), Handle::unstarted()));
    server.serve(MeantServer::new(Here).into()).unwrap();
    let account = Accounts::new(limits).open(PeerId::random(), None);
    let (io, far) = tokio::io::duplex(64 * 1024);
    let running = Arc::<AtomicUsize>::default();
    let serving = serve_streams(server, account.clone(), PeerId::random(), running.clone(), far.compat());
    Caller { io, account, served: tokio::spawn(serving), running, came: Vec::new() }
}

impl Caller {
    async fn say(&mut self, frames: &[Frame<'_>]) {
        let mut out = Vec::new();
        frames.iter().for_each(|frame| wire::encode(&mut out, frame).unwrap());
        let _ = self.io.write_all(&out).await;
    }

    /// Reads until the stream has ended, and gives why if that was said.
    async fn read_to_end(&mut self) -> Option<(GoAwayReason, String)> {
        self.io.read_to_end(&mut self.came).await.unwrap();
        (&mut self.served).await.unwrap();
        assert_eq!((self.account.in_use(), self.running.load(Ordering::Relaxed)), ((0, 0, 0), 0), "nothing is left");
        let mut rest = &self.came[..];
        let mut why = None;
        while let Ok(Some((frame, len))) = wire::decode(rest) {
            if let Frame::GoAway { reason, message, .. } = frame {
                why = Some((reason, message.to_owned()));
            }
            rest = &rest[len..];
        }
        assert!(rest.is_empty(), "all of it is frames");
        why
    }
}

const HELLO: fn() -> Frame<'static> = || Frame::Hello(wire::Hello { role: Role::OneCall, ..wire::Hello::default() });

fn request(id: u64, method: &'static str, body: &'static [u8]) -> Frame<'static> {
    let (codec, deadline, metadata) = (1, None, MetadataRef::EMPTY);
    Frame::Request(wire::Request { id, method, codec, deadline, metadata, body_len: body.len() as u64, chunk: body })
}

fn item(id: u64) -> Frame<'static> {
    Frame::Item(wire::Item { id, body_len: 3, chunk: &[2, 7, 7] })
}

fn end(id: u64, items: u64) -> Frame<'static> {
    Frame::End(wire::End { id, items, metadata: MetadataRef::EMPTY })
}

#[tokio::test(start_paused = true)]
async fn who_breaks_a_rule_is_told_which_and_the_stream_is_closed() {
    let leave = || request(1, "Meant.Leave", &[]);
    let cases: Vec<(Vec<Frame<'_>>, &str)> = vec![
        (vec![leave()], "the first frame is not a hello"),
        (vec![HELLO(), HELLO()], "has no place there"),
        (vec![HELLO(), end(1, 0)], "has no place there"),
        (vec![HELLO(), item(1)], "has no place there"),
        (vec![HELLO(), Frame::Body { id: 1, chunk: b"lost" }], "without its beginning"),
        (vec![HELLO(), leave(), request(2, "Meant.Leave", &[])], "has no place there"),
        (vec![HELLO(), leave(), item(2)], "has no place there"),
        (vec![HELLO(), leave(), item(1), end(1, 2)], "1 items came, and 2 were sent"),
        (vec![HELLO(), leave(), end(1, 0), item(1)], "has no place there"),
        (vec![HELLO(), leave(), end(1, 0), end(1, 0)], "has no place there"),
        (vec![HELLO(), leave(), Frame::Item(wire::Item { id: 1, body_len: 9, chunk: b"begun" }), item(1)], "within it"),
        (
            vec![HELLO(), leave(), Frame::Item(wire::Item { id: 1, body_len: 5 << 20, chunk: b"large" })],
            "a message of 5242880 bytes came, and 4194304 are the limit",
        ),
        (vec![HELLO(), request(5, "Meant.Fail", &[]), end(5, 0), request(6, "Meant.Fail", &[])], "has no place there"),
        (vec![HELLO(), request(5, "Meant.Nothing", &[]), request(5, "Meant.Nothing", &[])], "repeats or falls"),
    ];
    for (frames, rule) in cases {
        let mut caller = caller_of(Limits::default());
        caller.say(&frames).await;
        let (reason, message) = caller.read_to_end().await.unwrap_or_else(|| panic!("{frames:?}"));
        assert_eq!(reason, GoAwayReason::ProtocolError);
        assert!(message.contains(rule), "{frames:?}: {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_half_of_it_is_not_waited_for() {
    let begun = [&[HELLO()][..], &[request(1, "Meant.Take", &[])]].concat();
    let mut half = Vec::new();
    begun.iter().for_each(|frame| wire::encode(&mut half, frame).unwrap());
    half.pop();
    let mut hello = Vec::new();
    wire::encode(&mut hello, &HELLO()).unwrap();
    for (said, patience) in [(&[][..], REQUEST_TIMEOUT), (&half[..], REQUEST_TIMEOUT), (&hello[..], IDLE_TIMEOUT)] {
        let mut caller = caller_of(Limits::default());
        let began = tokio::time::Instant::now();
        caller.io.write_all(said).await.unwrap();
        assert_eq!(caller.read_to_end().await, None);
        let took = began.elapsed();
        assert!(took >= patience && took < patience + Duration::from_secs(1), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn frames_of_no_use_are_counted() {
    let mut caller = caller_of(Limits::default());
    caller.say(&[HELLO(), request(1, "Meant.Leave", &[])]).await;
    let unknown = Frame::Unknown { kind: 200, fields: &[] };
    let mut flood = Vec::new();
    (0..1000).for_each(|_| wire::encode(&mut flood, &unknown).unwrap());
    let mut sent = 0;
    while caller.io.write_all(&flood).await.is_ok() && sent < 100 * MAX_USELESS {
        sent += 1000;
    }
    assert!(sent <= 2 * MAX_USELESS + 64 * 1024, "{sent} frames");
    let (_, message) = caller.read_to_end().await.expect("it is told");
    assert!(message.contains("of no use"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_answered_early_is_heard_out_within_bounds() {
    let mut caller = caller_of(Limits::default());
    // Refused, and it goes on: what it sends has no use.
    caller.say(&[HELLO(), request(1, "Meant.Nothing", &[])]).await;
    let frames: Vec<_> = (0..MAX_USELESS + 10).map(|_| item(1)).collect();
    let began = Instant::now();
    for frames in frames.chunks(100) {
        caller.say(frames).await;
    }
    let (reason, _) = caller.read_to_end().await.expect("it is told");
    assert_eq!(reason, GoAwayReason::ProtocolError);
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn items_that_are_announced_and_do_not_come_take_what_they_announce_of_their_peer_and_little_of_all() {
    let limits = Limits { max_bytes: 1 << 30, ..Limits::default() };
    let mut caller = caller_of(limits);
    let begun = Frame::Item(wire::Item { id: 1, body_len: 4 << 20, chunk: b"a little" });
    caller.say(&[HELLO(), request(1, "Meant.Take", &[]), begun]).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    caller.say(&[Frame::Body { id: 1, chunk: b"and a little more" }]).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let (calls, most, _) = caller.account.in_use();
    assert_eq!(calls, 1);
    assert!((4 << 20..5 << 20).contains(&most), "{most} bytes of the peer");
    drop(caller.io);
    caller.served.await.unwrap();
    assert_eq!(caller.account.in_use(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn past_its_streams_a_peer_is_refused_and_nothing_runs() {
    let mut caller = caller_of(Limits::default());
    caller.running.store(MAX_STREAMS, Ordering::Relaxed);
    caller.say(&[HELLO(), request(1, "Meant.Fail", &[]), end(1, 0)]).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    caller.running.store(0, Ordering::Relaxed);
    caller.say(&[request(2, "Meant.Fail", &[]), end(2, 0)]).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    caller.io.shutdown().await.unwrap();
    assert_eq!(caller.read_to_end().await, None);
    let mut answers = Vec::new();
    let mut rest = &caller.came[..];
    while let Ok(Some((frame, len))) = wire::decode(rest) {
        if let Frame::Error(error) = frame {
            answers.push((error.id, error.code, error.delivery));
        }
        rest = &rest[len..];
    }
    let overloaded = (1, wire::ErrorCode::Overloaded, wire::Delivery::NeverSent);
    assert_eq!(answers, [overloaded, (2, wire::ErrorCode::Application, wire::Delivery::Answered)]);
}

#[tokio::test(start_paused = true)]
async fn arguments_that_come_slowly_are_charged_and_not_waited_for() {
    let mut caller = caller_of(Limits::default());
    let (codec, deadline, metadata) = (1, None, MetadataRef::EMPTY);
    let chunk = &[7; 32 * 1024];
    let begun = wire::Request { id: 1, method: "Meant.Take", codec, deadline, metadata, body_len: 4 << 20, chunk };
    let began = tokio::time::Instant::now();
    caller.say(&[HELLO(), Frame::Request(begun)]).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!((4 << 20..5 << 20).contains(&caller.account.in_use().1), "{:?}", caller.account.in_use());
    // A byte now and then is too little.
    let mut trickle = Vec::new();
    wire::encode_body(&mut trickle, 1, b"x").unwrap();
    while caller.io.write_all(&trickle).await.is_ok() && began.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(caller.read_to_end().await, None);
    assert!((12..15).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn arguments_for_which_there_is_no_room_are_not_waited_for() {
    let mut caller = caller_of(Limits { max_bytes: 8 << 20, max_bytes_per_peer: 5 << 20, ..Limits::default() });
    let _other = caller.account.reserve(4 << 20).expect("it fits");
    let (codec, deadline, metadata) = (1, None, MetadataRef::EMPTY);
    let begun =
        wire::Request { id: 1, method: "Meant.Take", codec, deadline, metadata, body_len: 2 << 20, chunk: b"a" };
    caller.say(&[HELLO(), Frame::Request(begun)]).await;
    caller.io.read_to_end(&mut caller.came).await.unwrap();
    let (_, len) = wire::decode(&caller.came).unwrap().expect("a hello");
    let (frame, _) = wire::decode(&caller.came[len..]).unwrap().expect("a word");
    assert!(
        matches!(frame, Frame::GoAway { last_call_id: 0, reason: GoAwayReason::Overloaded, .. }),
        "{frame:?}: the call was not taken"
    );
}

#[tokio::test(start_paused = true)]
async fn items_that_come_one_by_one_wait_for_a_caller_that_does_not_read() {
    let mut caller = caller_of(Limits::default());
    caller.say(&[HELLO(), request(1, "Meant.Trickle", &[]), end(1, 0)]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (_, _, replies) = caller.account.in_use();
    assert!((STREAM_WINDOW / 2..3 * STREAM_WINDOW).contains(&replies), "{replies} bytes wait");
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_until_it_is_read() {
    let mut caller = caller_of(Limits::default());
    caller.say(&[HELLO(), request(1, "Meant.Value", &[]), end(1, 0)]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (_, _, replies) = caller.account.in_use();
    assert!(replies >= 1 << 20, "{replies} bytes wait");
    while timeout(Duration::from_secs(1), caller.io.read_buf(&mut caller.came)).await.is_ok() {}
    assert!(caller.came.len() > 1 << 20);
    assert_eq!(caller.account.in_use(), (0, 0, 0), "it is read");
    caller.io.shutdown().await.unwrap();
    assert_eq!(caller.read_to_end().await, None);
}

#[tokio::test(start_paused = true)]
async fn items_without_bytes_take_room_too() {
    let mut caller = caller_of(Limits::default());
    caller.say(&[HELLO(), request(1, "Meant.Leave", &[])]).await;
    let mut frames = Vec::new();
    let empty = Frame::Item(wire::Item { id: 1, body_len: 0, chunk: &[] });
    (0..1000).for_each(|_| wire::encode(&mut frames, &empty).unwrap());
    let mut sent = 0;
    while sent < 1_000_000 && timeout(Duration::from_millis(10), caller.io.write_all(&frames)).await.is_ok() {
        sent += 1000;
    }
    assert!(sent < 100_000, "{sent} items were taken, and none by the handler");
}
