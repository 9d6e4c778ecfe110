//! Bytes on the protocol of Go peers that mean harm. Each ends in bounded time and memory; an honest peer's calls go on meanwhile.

use std::time::{Duration, Instant};

use p2prpc::prelude::*;
use p2prpc_tests::hostile::{RawStream, Scene, resident};
use rmpv::Value;

/// The most that a node may grow by, whatever a peer announces.
const GROWTH: usize = 64 << 20;
/// A value that isn't whole is waited for so long, and a little on a loaded machine.
const SILENCE: Duration = Duration::from_secs(10);

fn service_id(service: &str, method: &str) -> Vec<u8> {
    encoded(&Value::Map(vec![("Name".into(), service.into()), ("Method".into(), method.into())]))
}

fn echo() -> Vec<u8> {
    service_id("TargetAPI", "Echo")
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).unwrap();
    bytes
}

/// The `Error` of the first answer, and its `ErrType`.
async fn refusal(stream: &mut RawStream) -> (String, i64) {
    let answer = stream.bytes_until(|bytes| rmpv::decode::read_value(&mut &bytes[..]).is_ok()).await;
    let header = rmpv::decode::read_value(&mut &answer[..]).unwrap_or_else(|error| panic!("{error}: {answer:02x?}"));
    let field = |name: &str| header.as_map().unwrap().iter().find(|(key, _)| key.as_str() == Some(name));
    let text = field("Error").map(|(_, text)| text.as_str().unwrap().to_owned());
    (text.unwrap_or_default(), field("ErrType").and_then(|(_, kind)| kind.as_i64()).unwrap_or_default())
}

/// The caller is told, at once and at no cost.
async fn is_refused(bytes: &[u8], words: &str) {
    let scene = Scene::with_go_peer().await;
    let (before, began) = (resident(), Instant::now());
    let mut stream = scene.stream().await;
    stream.send_bytes(bytes).await;
    let (text, kind) = refusal(&mut stream).await;
    assert!(text.contains(words) && kind == 1, "{kind}: {text:?} says nothing of {words:?}");
    assert!(began.elapsed() < SILENCE, "{:?}", began.elapsed());
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} bytes more");
    is_unharmed(scene).await;
}

/// Calls go on, the hostile peer's own too, and nothing is left of it.
async fn is_unharmed(scene: Scene) {
    let mut stream = scene.stream().await;
    stream.send_bytes(&[echo(), encoded(&"honest".into())].concat()).await;
    let reply = encoded(&"honest".into());
    let answer = stream.bytes_until(|bytes| bytes.ends_with(&reply)).await;
    assert!(answer.ends_with(&reply), "{answer:02x?}");
    scene.is_cleared().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_string_of_4_gib_is_refused() {
    let header = [0xdb, 0xff, 0xff, 0xff, 0xff];
    is_refused(&[&echo()[..], &header, b"x"].concat(), "larger than").await;
    is_refused(&header, "larger than").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nesting_100_000_deep_is_refused() {
    let deep = [vec![0x91; 100_000], vec![0xc0]].concat();
    let arguments = [service_id("TargetAPI", "Nest"), deep.clone()].concat();
    is_refused(&arguments, "deeper than").await;
    // Under a key that nobody knows: Go's own server ends with its stack.
    let unknown_key = [&[0x83][..], &echo()[1..], &[0xa1, b'?'], &[0x91; 3000], &[0xc0]].concat();
    is_refused(&unknown_key, "deeper than").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_of_4_billion_entries_is_refused() {
    let header = [0xdf, 0xff, 0xff, 0xff, 0xff];
    is_refused(&[&echo()[..], &header, b"x"].concat(), "larger than").await;
    is_refused(&header, "larger than").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_id_without_end_is_refused() {
    let long = [&[0x82, 0xa4][..], b"Name", &[0xdb, 0, 0x10, 0, 0], &[b'x'; 1 << 16]].concat();
    is_refused(&long, "larger than").await;
    // One key after the other, each small.
    let keys = [&[0xde, 0xff, 0xff][..], &b"\xa1k\x01".repeat(10_000)].concat();
    is_refused(&keys, "larger than").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_value_is_refused() {
    is_refused(&[0xc1], "not MessagePack").await;
    is_refused(&[&echo()[..], &[0xc1]].concat(), "not MessagePack").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_within_a_value_ends() {
    let scene = Scene::with_go_peer().await;
    let began = Instant::now();
    let mut within_names = scene.stream().await;
    within_names.send_bytes(&echo()[..9]).await;
    let mut within_arguments = scene.stream().await;
    within_arguments.send_bytes(&[&echo()[..], &[0xda, 0, 9, b'x']].concat()).await;
    for mut stream in [within_names, within_arguments] {
        let (text, kind) = refusal(&mut stream).await;
        assert!(text.contains("took too long") && kind == 1, "{kind}: {text}");
    }
    assert!(began.elapsed() < 2 * SILENCE, "{:?}", began.elapsed());
    is_unharmed(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_the_arguments_has_an_end() {
    let scene = Scene::with_go_peer().await;
    let mut stream = scene.stream().await;
    stream.send_bytes(&[service_id("TargetAPI", "Wait"), vec![0x80]].concat()).await;
    for _ in 0..64 {
        stream.send_bytes(&[0xc0; 1 << 16]).await;
    }
    let rest = stream.bytes_until(|_| false).await;
    assert!(rest.is_empty(), "{rest:02x?}");
    is_unharmed(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_may_be_in_flight_are_told_so() {
    let scene = Scene::with_go_peer().await;
    let mut held = Vec::new();
    for _ in 0..1500 {
        let Some(mut stream) = scene.raw.open(scene.victim.id()).await else { break };
        stream.send_bytes(&[service_id("TargetAPI", "Wait"), vec![0x80]].concat()).await;
        held.push(stream);
    }
    // What is past the limit is answered, or not even taken.
    assert!(scene.victim.count().most() <= 1024, "{} handlers at once", scene.victim.count().most());
    scene.honest.is_served().await;
    drop(held);
    scene.is_cleared().await;
}

/// A reply that ends nowhere.
async fn is_answered_with(bytes: &'static [u8], kind: ErrorKind) {
    let mut scene = Scene::with_go_peer().await;
    scene.victim.knows(&scene.raw).await;
    let before = resident();
    let client = scene.victim.client().timeout(Duration::from_secs(3)).peer(scene.raw.id());
    let call = tokio::spawn(async move { client.echo("x".into()).await });
    let mut stream = scene.raw.accept().await;
    stream.send_bytes(bytes).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} bytes more");
    drop(stream);
    scene.is_cleared().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_replies_end_the_call() {
    is_answered_with(&[0x80, 0xdb, 0xff, 0xff, 0xff, 0xff], ErrorKind::TooLarge).await;
    is_answered_with(&[0xdf, 0xff, 0xff, 0xff, 0xff], ErrorKind::TooLarge).await;
    is_answered_with(&[0xc1], ErrorKind::BadReply).await;
    is_answered_with(&[0x80, 0x05], ErrorKind::BadReply).await;
    is_answered_with(&[0x80, 0xa5, b'x'], ErrorKind::DeadlineExceeded).await;
}
