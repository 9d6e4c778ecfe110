//! Calls that were recorded between peers in Go, with one side of each played again, and a peer of ours as the other side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use p2prpc::prelude::*;
use p2prpc_tests::hostile::{RawPeer, RawStream};
use p2prpc_tests::{Peer, soon};
use rmpv::Value;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Of the peers of these tests.
const PROTOCOL: &str = "/tests";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    message: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Args {
    a: i64,
    b: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Quotient {
    quo: i64,
    rem: i64,
}

#[p2p_service(gorpc = "EchoRPCAPI")]
trait EchoService {
    async fn echo(&self, msg: Envelope) -> Envelope;
}

#[p2p_service(gorpc = "Arith")]
trait Arith {
    async fn multiply(&self, args: Args) -> i64;
    async fn divide(&self, args: Args) -> Result<Quotient, String>;
}

#[p2p_service(gorpc = "Golden")]
trait Golden {
    async fn nothing(&self);
    #[rpc(name = "Str")]
    async fn text(&self, text: String) -> String;
    async fn bytes(&self, bytes: Option<ByteBuf>) -> Option<ByteBuf>;
    async fn map(&self, map: BTreeMap<String, i64>) -> BTreeMap<String, i64>;
    async fn nil_slice(&self, args: Args) -> Option<Vec<i64>>;
    async fn nil_ptr(&self, args: Args) -> Option<Quotient>;
    async fn fail(&self, args: Args) -> Result<Quotient, String>;
    async fn fail_with_reply(&self, args: Args) -> Result<Quotient, String>;
    async fn fail_empty(&self, args: Args) -> Result<Quotient, String>;
    async fn wait(&self, millis: u64) -> Quotient;
}

#[derive(Clone, Debug, Default)]
struct Recorded {
    started: Arc<AtomicUsize>,
    waiting: Arc<AtomicUsize>,
}

struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl EchoService for Recorded {
    async fn echo(&self, msg: Envelope) -> Envelope {
        msg
    }
}

impl Arith for Recorded {
    async fn multiply(&self, args: Args) -> i64 {
        args.a * args.b
    }

    async fn divide(&self, Args { a, b }: Args) -> Result<Quotient, String> {
        if b == 0 { Err("divide by zero".into()) } else { Ok(Quotient { quo: a / b, rem: a % b }) }
    }
}

impl Golden for Recorded {
    async fn nothing(&self) {}

    async fn text(&self, text: String) -> String {
        text + "!"
    }

    async fn bytes(&self, bytes: Option<ByteBuf>) -> Option<ByteBuf> {
        bytes
    }

    async fn map(&self, map: BTreeMap<String, i64>) -> BTreeMap<String, i64> {
        map
    }

    async fn nil_slice(&self, _: Args) -> Option<Vec<i64>> {
        None
    }

    async fn nil_ptr(&self, _: Args) -> Option<Quotient> {
        None
    }

    async fn fail(&self, _: Args) -> Result<Quotient, String> {
        Err("boom".into())
    }

    async fn fail_with_reply(&self, _: Args) -> Result<Quotient, String> {
        Err("boom".into())
    }

    async fn fail_empty(&self, _: Args) -> Result<Quotient, String> {
        Err(String::new())
    }

    async fn wait(&self, millis: u64) -> Quotient {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(self.waiting.clone());
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Quotient::default()
    }
}

#[derive(Debug, Deserialize)]
struct Exchange {
    name: String,
    client_to_server: Vec<Chunk>,
    server_to_client: Vec<Chunk>,
}

#[derive(Debug, Deserialize)]
struct Chunk {
    hex: String,
    then: String,
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The first two values: a header and a reply.
fn two_values(bytes: &[u8]) -> Option<(Value, Value)> {
    let mut rest = bytes;
    Some((rmpv::decode::read_value(&mut rest).ok()?, rmpv::decode::read_value(&mut rest).ok()?))
}

/// What a header says: an error's text and type.
fn error_of(header: &Value) -> (String, i64) {
    let fields = header.as_map().map(Vec::as_slice).unwrap_or_default();
    let field = |name| fields.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value);
    let text = field("Error").and_then(Value::as_str).unwrap_or_default();
    (text.to_owned(), field("ErrType").and_then(Value::as_i64).unwrap_or_default())
}

/// Recorded calls that are not played: of streams, of methods that only Go could have, and those whose caller is gone before the answer.
fn is_played(name: &str) -> bool {
    let name = name.strip_prefix("v01_").unwrap_or(name);
    let of_streams =
        name.starts_with("stream_") || name.starts_with("raw_stream") || name.starts_with("call_on_streaming");
    let others =
        ["unary_relayed", "unary_sender", "unary_handler_panic", "unary_context_cancelled", "unary_deadline_exceeded"];
    !of_streams
        && !others.iter().any(|other| name.starts_with(other))
        && !["raw_reset_while_handling", "raw_service_id_half_close_at_once"].contains(&name)
}

/// What ours says in words of its own, with the type that it has there.
const OWN_WORDS: [(&str, &str, i64); 18] = [
    // An error without a text is none in Go.
    ("unary_app_error_empty_text", "did not say why", 0),
    ("unary_args_decode_failure", ARGUMENTS, 1),
    ("unary_args_decode_failure_str_for_struct", ARGUMENTS, 1),
    ("v01_unary_args_decode_failure", ARGUMENTS, 1),
    ("raw_args_overflow", ARGUMENTS, 1),
    ("raw_args_bad_byte", "the arguments are not MessagePack", 1),
    // Go makes a negative number of it.
    ("raw_args_uint64_max", "`18446744073709551615`", 1),
    // Go says the same of a cut request as of one that is none, and gives it no type.
    ("raw_args_missing_eof", "the arguments ended too soon: EOF", 1),
    ("raw_args_truncated_eof", "the arguments ended too soon: EOF", 1),
    // A second value may be the next one of a stream of arguments, whose end is no cancellation.
    ("raw_extra_byte_in_request_flush", "", 0),
    ("raw_service_id_int", SERVICE_ID, 1),
    ("raw_service_id_str", SERVICE_ID, 1),
    ("raw_service_id_c1", SERVICE_ID, 1),
    ("raw_service_id_bad_then_good", SERVICE_ID, 1),
    ("raw_service_id_bad_second_field", SERVICE_ID, 1),
    ("raw_service_id_bad_third_key_then_args", SERVICE_ID, 1),
    ("v01_raw_service_id_int", SERVICE_ID, 1),
    // The words of gorpc since v0.2.
    ("v01_unary_unauthorized", "client does not have permissions to call EchoRPCAPI.Echo", 3),
];

const ARGUMENTS: &str = "the peer could not read the arguments";
const SERVICE_ID: &str = "error reading service ID";

#[tokio::test(flavor = "multi_thread")]
async fn recorded_callers_are_answered_as_go_answers_them() {
    let exchanges: Vec<Exchange> =
        serde_json::from_str(include_str!("../../p2prpc/tests/fixtures/gorpc/exchanges.json")).unwrap();
    let recorded = Recorded::default();
    let open = Peer::builder().gorpc().serve(EchoServiceServer::new(recorded.clone()));
    let open = open.serve(ArithServer::new(recorded.clone())).serve(GoldenServer::new(recorded)).start().await;
    let closed = Peer::builder().gorpc().serve(EchoServiceServer::new(Recorded::default()).authorize(|_| false));
    let closed = closed.start().await;
    let mut raw = RawPeer::speaking(PROTOCOL).await;
    raw.connect(open.address()).await;
    raw.connect(closed.address()).await;

    let (mut wrong, mut played) = (Vec::new(), 0);
    for exchange in exchanges.iter().filter(|exchange| is_played(&exchange.name)) {
        let name = &exchange.name;
        let server = if name.contains("unauthorized") { &closed } else { &open };
        let answer = soon(name, play(raw.open(server.id()).await.expect(name), exchange)).await;
        let expected = exchange.server_to_client.iter().flat_map(|chunk| unhex(&chunk.hex)).collect::<Vec<_>>();
        played += 1;
        let Some((expected_header, expected_reply)) = two_values(&expected) else { panic!("{name} has no answer") };
        let Some((header, reply)) = two_values(&answer) else {
            wrong.push(format!("{name}: {answer:02x?}"));
            continue;
        };
        let (expected_error, error) = (error_of(&expected_header), error_of(&header));
        if let Some((_, words, kind)) = OWN_WORDS.iter().find(|(own, ..)| own == name) {
            if !error.0.contains(words) || error.1 != *kind {
                wrong.push(format!("{name}: {error:?}"));
            }
        } else if error != expected_error {
            wrong.push(format!("{name}: {error:?} and not {expected_error:?}"));
        } else if error.0.is_empty() && reply != expected_reply {
            wrong.push(format!("{name}: {reply} and not {expected_reply}"));
        } else if error.0.is_empty() && !name.starts_with("v01_") && answer != expected {
            wrong.push(format!("{name}: {answer:02x?} and not {expected:02x?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {played}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(played > 50, "only {played} calls were played");
}

/// The caller's side.
async fn play(mut stream: RawStream, exchange: &Exchange) -> Vec<u8> {
    let mut answer = Vec::new();
    for chunk in &exchange.client_to_server {
        // What only ends the stream comes behind the answer.
        if chunk.hex.is_empty() && answer.is_empty() && !exchange.name.contains("half_close") {
            answer = stream.bytes_until(|bytes| two_values(bytes).is_some()).await;
        }
        stream.send_bytes(&unhex(&chunk.hex)).await;
        if chunk.then == "half-close" {
            stream.half_close().await;
        }
    }
    if answer.is_empty() {
        answer = stream.bytes_until(|bytes| two_values(bytes).is_some()).await;
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_cancels_its_handler() {
    let recorded = Recorded::default();
    let server = Peer::builder().gorpc().serve(GoldenServer::new(recorded.clone())).start().await;
    let mut raw = RawPeer::speaking(PROTOCOL).await;
    raw.connect(server.address()).await;
    let wait: Vec<u8> = {
        let id = Value::Map(vec![("Name".into(), "Golden".into()), ("Method".into(), "Wait".into())]);
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &id).unwrap();
        [&bytes[..], &[0xcd, 0xea, 0x60]].concat()
    };
    for by_reset in [true, false] {
        let started = recorded.started.load(Ordering::SeqCst);
        let mut stream = raw.open(server.id()).await.unwrap();
        stream.send_bytes(&wait).await;
        let waits = async {
            while recorded.started.load(Ordering::SeqCst) == started {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("the handler waits", waits).await;
        if by_reset {
            drop(stream);
        } else {
            // As gorpc v0.1 cancels.
            stream.half_close().await;
            let answer = stream.bytes_until(|bytes| two_values(bytes).is_some()).await;
            assert_eq!(error_of(&two_values(&answer).unwrap().0), ("context canceled".into(), 0));
        }
        let ends = async {
            while recorded.waiting.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("the handler is dropped", ends).await;
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    what: String,
    name: String,
    #[serde(default)]
    hex: String,
    #[serde(default)]
    then: String,
    accepted: bool,
    #[serde(default)]
    value: serde_json::Value,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_kind: String,
}

/// Answers of which gorpc's own client makes a success, though a part is missing.
const CUT: [&str; 2] = ["unary_body_missing", "unary_body_truncated"];

#[tokio::test(flavor = "multi_thread")]
async fn recorded_answers_are_taken_as_go_takes_them() {
    let answers: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../../p2prpc/tests/fixtures/gorpc/accepts.json")).unwrap();
    let answers = answers.into_iter().filter(|answer| answer["what"] == "client-unary-response");
    let answers: Vec<Answer> = answers.map(|answer| serde_json::from_value(answer).unwrap()).collect();
    assert_eq!(answers.len(), 39);
    let caller = Peer::builder().gorpc().start().await;
    let mut raw = RawPeer::speaking(PROTOCOL).await;
    let (id, address) = (raw.id(), raw.address());
    caller.with(move |swarm| swarm.add_peer_address(id, address)).await;
    let client = EchoServiceClient::new(&caller).timeout(Duration::from_secs(5)).peer(raw.id());
    let mut wrong = Vec::new();
    for answer in &answers {
        let name = &answer.name;
        let call = tokio::spawn(client.echo(Envelope { message: "x".into() }));
        let mut stream = raw.accept().await;
        stream.bytes_until(|bytes| two_values(bytes).is_some()).await;
        stream.send_bytes(&unhex(&answer.hex)).await;
        match answer.then.as_str() {
            "half-close" => stream.half_close().await,
            "reset" => drop(stream),
            _ => {}
        }
        let result = soon(name, call).await.unwrap();
        let told = match (&result, answer.accepted && !CUT.contains(&name.as_str())) {
            (Ok(reply), true) => reply.message == answer.value["Message"].as_str().unwrap_or_default(),
            (Err(error), true) => panic!("{name}: {error}"),
            (Ok(_), false) => false,
            (Err(error), false) => answer.error != "boom" || error.to_string().contains("boom"),
        };
        let kind = result.as_ref().err().map(Failure::kind);
        let fits = match (answer.error.as_str(), answer.error_kind.as_str()) {
            ("boom", "AuthorizationErr") => kind == Some(ErrorKind::NotServed),
            ("boom", "ServerErr" | "ClientErr") => kind == Some(ErrorKind::Internal),
            _ => true,
        };
        if !told || !fits {
            wrong.push(format!("{name} ({}): {result:?}", answer.what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
