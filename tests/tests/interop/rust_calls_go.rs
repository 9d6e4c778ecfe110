//! A node calls a Go server, a process.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::join_all;
use libtest_mimic::Trial;
use p2prpc::gorpc::Time;
use p2prpc::prelude::*;
use p2prpc::{Multiaddr, NodeBuilder, PreSharedKey};
use p2prpc_tests::golang;
use p2prpc_tests::programs::Program;
use serde_bytes::ByteBuf;
use serde_json::Value;

use crate::lab::{
    Empties, Floats, Inner, Integers, LabClient, LabPeer, NewerLabClient, NobodyClient, Outer, Seen, Sparse,
};
use crate::{KEYS, PROTOCOL, SOON, Transport, big_messages, node, trial};

/// More than the stream limits of go-libp2p let through at once.
const CALLS: usize = 1000;
const BIG: usize = 8 << 20;
/// A caller that is refused while it writes isn't left waiting for its deadline, [`SOON`].
const REFUSED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub(crate) fn trials(transport: Transport) -> Vec<Trial> {
    let name = |what: &str| format!("rust_calls_go::{}::{what}", transport.name());
    let mut trials = vec![
        trial(name("ping"), move || ping(transport)),
        trial(name("integers"), move || integers(transport)),
        trial(name("floats"), move || floats(transport)),
        trial(name("texts"), move || texts(transport)),
        trial(name("raw"), move || raw(transport)),
        trial(name("outer"), move || outer(transport)),
        trial(name("numbers_and_table"), move || numbers_and_table(transport)),
        trial(name("sparse"), move || sparse(transport)),
        trial(name("empties"), move || empties(transport)),
        trial(name("moments"), move || moments(transport)),
        trial(name("add_and_divide"), move || add_and_divide(transport)),
        trial(name("unknown"), move || unknown(transport)),
        trial(name("denied"), move || denied(transport)),
        trial(name("cancelled"), move || cancelled(transport)),
        trial(name("late"), move || late(transport)),
        trial(name("killed"), move || killed(transport)),
        trial(name("thousand"), move || thousand(transport)),
        trial(name("big"), move || big(transport)),
        trial(name("refused_while_writing"), move || refused_while_writing(transport)),
    ];
    if let Transport::Tcp = transport {
        trials.push(trial(name("private_network"), private_network));
    }
    for key in KEYS {
        trials.push(trial(name(&format!("key_{key}")), move || a_key_is_known(transport, key)));
    }
    trials
}

/// A Go server, and a node that knows it.
struct Pair {
    server: Program,
    node: Node,
    there: PeerId,
}

impl Pair {
    async fn start(transport: Transport) -> Pair {
        Self::with(transport, &["-key", "ed25519"], |node| node).await
    }

    async fn with(transport: Transport, options: &[&str], how: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Pair {
        let mut command = Command::new(golang::interop());
        command.args(["server", "-protocol", PROTOCOL, "-transport", transport.name()]).args(options);
        let server = Program::start(tied(command));
        let ready = server.out.find(0, SOON, |line| serde_json::from_str::<Value>(line).ok());
        let ready = ready.unwrap_or_else(|| panic!("it isn't ready: {server}"));
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{ready}")).to_owned();
        let there: PeerId = text(&ready["id"]).parse().unwrap();
        let address: Multiaddr = text(&ready["addresses"][0]).parse().unwrap();
        let node = how(node(transport).timeout(SOON)).start().await.unwrap();
        node.add_address(there, address).unwrap();
        Pair { server, node, there }
    }

    fn lab(&self) -> LabPeer {
        LabClient::new(&self.node).peer(self.there)
    }

    /// Waits until the server has seen that.
    async fn has_seen(&self, what: Seen) {
        let end = Instant::now() + SOON;
        loop {
            let seen = self.lab().seen().await.unwrap();
            if seen == what {
                return;
            }
            assert!(Instant::now() < end, "it has seen {seen:?}, and not {what:?}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// It ends when this process does, however that ends.
fn tied(mut command: Command) -> Command {
    command.stdin(Stdio::piped());
    command
}

fn filled(size: usize) -> ByteBuf {
    (0..size).map(|i| ((i * 31) >> 3) as u8).collect::<Vec<_>>().into()
}

async fn ping(transport: Transport) {
    let pair = Pair::start(transport).await;
    assert_eq!(pair.lab().ping().await.unwrap(), "pong");
    pair.lab().nothing().await.unwrap();
}

async fn private_network() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let key = format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", "0123456789abcdef".repeat(4));
    std::fs::write(&file, key).unwrap();
    let options = ["-key", "ed25519", "-swarm-key", file.path().to_str().unwrap()];
    let key = PreSharedKey::from_file(&file).unwrap();
    let pair = Pair::with(Transport::Tcp, &options, |node| node.pre_shared_key(key)).await;
    assert_eq!(pair.lab().ping().await.unwrap(), "pong");
    let other = PreSharedKey::new([1; 32]);
    let pair = Pair::with(Transport::Tcp, &options, |node| node.pre_shared_key(other)).await;
    let error = pair.lab().ping().await.unwrap_err();
    assert!(error.to_string().contains("the peer has another key, or none"), "{error}");
}

async fn integers(transport: Transport) {
    let pair = Pair::start(transport).await;
    let of = |i: i64, u: u64| Integers {
        i8: i as i8,
        i16: i as i16,
        i32: i as i32,
        i64: i,
        u8: u as u8,
        u16: u as u16,
        u32: u as u32,
        u64: u,
    };
    let signed = [0, 1, -1, 127, 128, -32, -33, -128, -129, 255, 256, 32_767, 32_768, -32_768, -32_769];
    let signed =
        signed.into_iter().chain([65_535, 65_536, i32::MAX.into(), i32::MIN.into(), 1 << 32, i64::MAX, i64::MIN]);
    let unsigned = [0, 1, 127, 128, 200, 255, 256, 65_535, 65_536, u32::MAX.into(), 1 << 32, 1 << 63, u64::MAX];
    for (i, u) in signed.zip(unsigned.into_iter().cycle()) {
        assert_eq!(pair.lab().integers(of(i, u)).await.unwrap(), of(i, u));
    }
}

async fn floats(transport: Transport) {
    let pair = Pair::start(transport).await;
    for (f32, f64) in [
        (0.0, 0.0),
        (1.5, -2.25),
        (f32::MAX, f64::MIN),
        (f32::MIN_POSITIVE, f64::EPSILON),
        (f32::INFINITY, f64::NEG_INFINITY),
    ] {
        let values = Floats { f32, f64 };
        assert_eq!(pair.lab().floats(values.clone()).await.unwrap(), values);
    }
    let nan = pair.lab().floats(Floats { f32: f32::NAN, f64: f64::NAN }).await.unwrap();
    assert!(nan.f32.is_nan() && nan.f64.is_nan());
}

async fn texts(transport: Transport) {
    let pair = Pair::start(transport).await;
    for size in [0, 1, 31, 32, 255, 256, 65_535, 65_536, 200_000] {
        let text = "a".repeat(size);
        assert!(pair.lab().text(text.clone()).await.unwrap() == text, "{size} bytes");
    }
    let text = "größer – 大きい – 🦀";
    assert_eq!(pair.lab().text(text.into()).await.unwrap(), text);
}

async fn raw(transport: Transport) {
    let pair = Pair::start(transport).await;
    for size in [0, 1, 31, 32, 255, 256, 65_535, 65_536, 600_000] {
        assert!(pair.lab().raw(filled(size)).await.unwrap() == filled(size), "{size} bytes");
    }
}

async fn outer(transport: Transport) {
    let pair = Pair::start(transport).await;
    let inner = |name: &str| Inner { name: name.into(), tags: vec!["a".into(), name.into()] };
    let leaves = vec![BTreeMap::from([("k".into(), -1)]), BTreeMap::from([("l".into(), 2), ("m".into(), 300)])];
    let value = Outer {
        first: inner("first"),
        all: (0..20).map(|n| inner(&n.to_string())).collect(),
        named: BTreeMap::from([("x".into(), inner("one")), ("y".into(), inner("other"))]),
        deep: vec![leaves, Vec::new()],
        flag: true,
    };
    assert_eq!(pair.lab().outer(value.clone()).await.unwrap(), value);
}

async fn numbers_and_table(transport: Transport) {
    let pair = Pair::start(transport).await;
    for size in [0, 1, 15, 16, 65_536] {
        let values: Vec<i64> = (0..size).map(|n| n - 1000).collect();
        assert!(pair.lab().numbers(values.clone()).await.unwrap() == values, "{size} values");
    }
    for size in [0, 1, 15, 16, 1000] {
        let table: BTreeMap<_, _> = (0..size).map(|n| (format!("key {n}"), n)).collect();
        assert!(pair.lab().table(table.clone()).await.unwrap() == table, "{size} entries");
    }
}

async fn sparse(transport: Transport) {
    let pair = Pair::start(transport).await;
    let inner = Inner { name: "in".into(), tags: vec!["t".into()] };
    for value in [
        Sparse::default(),
        Sparse { text: Some("here".into()), ..Sparse::default() },
        Sparse { text: Some(String::new()), number: Some(0), ..Sparse::default() },
        Sparse { number: Some(-7), omitted: "no".into(), list: vec![1], inner: Some(inner), ..Sparse::default() },
    ] {
        assert_eq!(pair.lab().sparse(value.clone()).await.unwrap(), value);
    }
}

async fn empties(transport: Transport) {
    let pair = Pair::start(transport).await;
    assert_eq!(pair.lab().empties(Empties::default()).await.unwrap(), Empties::default());
}

async fn moments(transport: Transport) {
    let pair = Pair::start(transport).await;
    assert_eq!(pair.lab().moment(None).await.unwrap(), None);
    let seconds = [0, 1_700_000_000, (1 << 34) - 1, 1 << 34, -1];
    for moment in seconds.into_iter().flat_map(|seconds| [0, 123_456_789].map(|nanos| Time::new(seconds, nanos))) {
        assert_eq!(pair.lab().moment(moment).await.unwrap(), moment);
    }
}

async fn add_and_divide(transport: Transport) {
    let pair = Pair::start(transport).await;
    assert_eq!(pair.lab().add(40, 2).await.unwrap(), 42);
    assert_eq!(pair.lab().divide(84, 2).await.unwrap(), 42);
    match pair.lab().divide(84, 0).await.unwrap_err() {
        CallError::Application(text) => assert_eq!(text, "nothing can be divided by zero"),
        CallError::Rpc(error) => panic!("{error}"),
    }
}

async fn unknown(transport: Transport) {
    let pair = Pair::start(transport).await;
    let service = NobodyClient::new(&pair.node).peer(pair.there).ping().await.unwrap_err();
    let method = NewerLabClient::new(&pair.node).peer(pair.there).nope(filled(3)).await.unwrap_err();
    for error in [service, method] {
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotServed, Delivery::NeverSent), "{error}");
    }
    assert_eq!(pair.lab().ping().await.unwrap(), "pong");
}

async fn denied(transport: Transport) {
    let pair = Pair::with(transport, &["-deny"], |node| node).await;
    let error = pair.lab().ping().await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotServed, Delivery::NeverSent), "{error}");
    assert!(error.to_string().ends_with(" (never run)"), "{error}");
}

async fn cancelled(transport: Transport) {
    let pair = Pair::start(transport).await;
    let lab = pair.lab();
    let call = tokio::spawn(async move { lab.hold().await });
    pair.has_seen(Seen { waiting: 1, cancelled: 0 }).await;
    call.abort();
    pair.has_seen(Seen { waiting: 0, cancelled: 1 }).await;
}

async fn late(transport: Transport) {
    let pair = Pair::start(transport).await;
    let error = pair.lab().hold().timeout(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::MayHaveRun), "{error}");
    pair.has_seen(Seen { waiting: 0, cancelled: 1 }).await;
}

/// Over QUIC nobody says goodbye: the connection is found dead.
async fn killed(transport: Transport) {
    let mut pair = Pair::start(transport).await;
    let lab = pair.lab();
    let call = tokio::spawn(async move { lab.hold().await });
    pair.has_seen(Seen { waiting: 1, cancelled: 0 }).await;
    pair.server.kill();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun), "{error}");
}

async fn thousand(transport: Transport) {
    let pair = Pair::start(transport).await;
    let calls = (0..CALLS).map(|n| {
        let lab = pair.lab();
        tokio::spawn(async move { (n, lab.text(format!("call {n}")).await) })
    });
    for call in join_all(calls).await {
        let (n, reply) = call.unwrap();
        assert_eq!(reply.unwrap(), format!("call {n}"));
    }
}

async fn big(transport: Transport) {
    let pair = Pair::with(transport, &["-key", "ed25519"], |node| node.limits(big_messages())).await;
    let sent = filled(BIG);
    assert!(pair.lab().raw(sent.clone()).await.unwrap() == sent);
}

async fn refused_while_writing(transport: Transport) {
    let pair = Pair::with(transport, &["-key", "ed25519"], |node| node.limits(big_messages())).await;
    let began = Instant::now();
    let error = NewerLabClient::new(&pair.node).peer(pair.there).nope(filled(BIG)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotServed, Delivery::NeverSent), "{error}");
    assert!(began.elapsed() < REFUSED_WITHIN, "{:?}", began.elapsed());
    assert_eq!(pair.lab().ping().await.unwrap(), "pong");
}

async fn a_key_is_known(transport: Transport, key: &'static str) {
    let pair = Pair::with(transport, &["-key", key], |node| node).await;
    assert_eq!(pair.lab().who().await.unwrap(), pair.node.peer_id().to_string());
}
