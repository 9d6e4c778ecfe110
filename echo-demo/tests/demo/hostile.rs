//! A peer that answers with what could harm a terminal or a reader of JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use p2prpc::prelude::*;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::support::{Program, SOON, command, event};

const ESCAPES: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\r\u{8}\u{202e}gone\n{\"event\":\"echo\"}";

/// As the program has it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope {
    message: String,
}

/// The program's declares no error.
#[p2p_service]
pub trait EchoService {
    async fn echo(&self, msg: Envelope) -> Result<Envelope, String>;
}

/// Answers one way and then the other.
#[derive(Default)]
struct Hostile {
    calls: AtomicU64,
}

impl EchoService for Hostile {
    async fn echo(&self, _msg: Envelope) -> Result<Envelope, String> {
        match self.calls.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Ok(Envelope { message: ESCAPES.into() }),
            _ => Err(ESCAPES.into()),
        }
    }
}

async fn hostile_node() -> Node {
    Node::builder()
        .listen("/ip4/127.0.0.1/tcp/0")
        .protocol("/p2p/rpc/ldej")
        .rendezvous("ldej/echo")
        .serve(EchoServiceServer::new(Hostile::default()))
        .start()
        .await
        .unwrap()
}

fn victim(node: &Node, args: &[&str]) -> Program {
    let address = node.addresses().remove(0).to_string();
    Program::start(command(["--interval", "100ms", "--peer", &address].iter().chain(args)))
}

#[track_caller]
fn assert_harmless(text: &str) {
    let harmful = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.chars().any(harmful), "{text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn terminal_escapes_are_printed_harmlessly() {
    let node = hostile_node().await;
    let id = node.peer_id().to_string();
    let mut victim = victim(&node, &[]);
    for what in ["echoed: ", "returned error: "] {
        let start = format!("Peer {id} {what}");
        assert!(victim.out.find(0, SOON, |line| line.starts_with(&start).then_some(())).is_some(), "{victim}");
    }
    victim.signal(Signal::INT);
    assert_eq!(victim.end(SOON).code(), Some(0), "{victim}");
    let lines = victim.out.all();
    lines.iter().chain(&victim.err.all()).for_each(|line| assert_harmless(line));
    let shown = r#"\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{d}\u{8}\u{202e}gone\u{a}{"event":"echo"} ("#;
    assert!(lines.iter().any(|line| line.contains(shown)), "{victim}");
}

/// The fields of each event beside `event`, `time` and `node`.
fn documented() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let fields: [(_, &[_]); 6] = [
        ("listening", &["address"]),
        ("peer_joined", &["peer"]),
        ("peer_left", &["peer"]),
        ("echo", &["peer", "round", "message", "micros"]),
        ("error", &["peer", "round", "error", "kind", "micros"]),
        ("summary", &["peers", "calls", "errors", "p50_micros", "p99_micros"]),
    ];
    fields.into_iter().map(|(event, fields)| (event, fields.iter().copied().collect())).collect()
}

#[track_caller]
fn assert_documented(event: &Value) {
    let mut fields: BTreeSet<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
    for common in ["event", "time", "node"] {
        assert!(fields.remove(common) && event[common].is_string(), "{event}");
    }
    assert_eq!(Some(&fields), documented().get(event["event"].as_str().unwrap()), "{event}");
    assert!(event["node"].as_str().unwrap().parse::<PeerId>().is_ok(), "{event}");
    let time = event["time"].as_str().unwrap();
    assert!(humantime::parse_rfc3339(time).is_ok(), "{event}");
    for field in fields {
        let as_documented = match field {
            "peer" => event[field].as_str().is_some_and(|peer| peer.parse::<PeerId>().is_ok()),
            "address" => event[field].as_str().is_some_and(|address| {
                address.parse::<Multiaddr>().is_ok() && address.ends_with(event["node"].as_str().unwrap())
            }),
            "message" | "error" | "kind" => event[field].is_string(),
            _ => event[field].is_u64(),
        };
        assert!(as_documented, "{field}: {event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_as_documented_whatever_a_peer_says() {
    let node = hostile_node().await;
    let mut victim = victim(&node, &["--json"]);
    for what in ["echo", "error"] {
        let said = victim.out.find(0, SOON, |line| (event(line)["event"] == what).then_some(()));
        assert!(said.is_some(), "no `{what}`: {victim}");
    }
    node.shutdown(Duration::from_secs(1)).await;
    assert!(victim.out.find(0, SOON, |line| (event(line)["event"] == "peer_left").then_some(())).is_some(), "{victim}");
    victim.signal(Signal::INT);
    assert_eq!(victim.end(SOON).code(), Some(0), "{victim}");

    let lines = victim.out.all();
    lines.iter().for_each(|line| assert_harmless(line));
    let events: Vec<_> = lines.iter().map(|line| event(line)).collect();
    events.iter().for_each(assert_documented);
    let seen: BTreeSet<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(seen, documented().into_keys().collect(), "{victim}");
    let echo = events.iter().find(|event| event["event"] == "echo").unwrap();
    assert_eq!(echo["message"], ESCAPES);
}
