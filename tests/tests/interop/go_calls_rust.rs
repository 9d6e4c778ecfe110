//! A Go client, a process, calls a node: what it is told, and what it makes of it.

use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use p2prpc::{Multiaddr, NodeBuilder};
use p2prpc_tests::golang;
use p2prpc_tests::programs::Program;
use serde_json::Value;

use crate::lab::{Bench, LabServer};
use crate::{KEYS, SOON, Transport, big_messages, node, trial};

/// Cases in which all is well, if the client says so.
const WELL: [&str; 18] = [
    "ping", "nothing", "integers", "floats", "texts", "raw", "outer", "numbers", "table", "sparse", "empties",
    "moments", "add", "who", "dialect", "cancel", "thousand", "stream",
];
/// Cases in which the client is told what is wrong: as what kind of error, in which words.
const REFUSED: [(&str, &str, &str); 4] = [
    ("divide", "application", "nothing can be divided by zero"),
    ("unknown_service", "server", "rpc: can't find service Nobody"),
    ("unknown_method", "server", "rpc: can't find method Nope"),
    ("wrong_type", "server", ""),
];
/// A client that is refused while it writes isn't left waiting for its own deadline, which is thrice as long.
const REFUSED_WITHIN_MILLIS: u64 = 10_000;

pub(crate) fn trials(transport: Transport) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut add = |what: &str, test: Trial| {
        assert!(test.name().contains(what));
        trials.push(test);
    };
    let name = |what: &str| format!("go_calls_rust::{}::{what}", transport.name());
    for case in WELL {
        add(case, trial(name(case), move || all_is_well(transport, case)));
    }
    for (case, kind, words) in REFUSED {
        add(case, trial(name(case), move || is_refused(transport, case, kind, words)));
    }
    for key in KEYS {
        add(key, trial(name(&format!("key_{key}")), move || a_key_is_known(transport, key)));
    }
    add("denied", trial(name("denied"), move || is_denied(transport)));
    add("boom", trial(name("boom"), move || a_panic_fails_one_call(transport)));
    add("big", trial(name("big"), move || a_big_body_comes_back(transport)));
    for case in ["refused_big", "too_big"] {
        add(case, trial(name(case), move || is_refused_while_it_writes(transport, case)));
    }
    trials
}

/// What the client said of its cases.
struct Said(Vec<Value>);

impl Said {
    /// Runs the client to its end.
    fn by_client(address: &Multiaddr, key: &str, cases: &str) -> Said {
        let mut command = Command::new(golang::interop());
        command.args(["client", "-raise", "-protocol", crate::PROTOCOL, "-key", key, "-case", cases]);
        command.args(["-peer", &address.to_string()]).stdin(Stdio::null());
        let mut client = Program::start(command);
        let status = client.end(SOON + SOON);
        assert!(status.success(), "{status}: {client}");
        let lines = client.out.all();
        assert_eq!(lines.len(), cases.split(',').count(), "{client}");
        Said(lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    fn all_well(&self) {
        for said in &self.0 {
            assert!(said["ok"] == true, "{said}");
        }
    }
}

async fn on_a_node(transport: Transport, how: impl FnOnce(NodeBuilder) -> NodeBuilder, key: &str, cases: &str) -> Said {
    let builder = node(transport).serve(LabServer::new(Bench::default()));
    let node = how(builder).start().await.unwrap();
    let said = Said::by_client(&node.addresses()[0], key, cases);
    drop(node);
    said
}

async fn all_is_well(transport: Transport, case: &'static str) {
    on_a_node(transport, |node| node, "ed25519", case).await.all_well();
}

async fn is_refused(transport: Transport, case: &'static str, kind: &str, words: &str) {
    let said = on_a_node(transport, |node| node, "ed25519", case).await;
    said.all_well();
    let said = &said.0[0];
    assert_eq!(said["kind"], kind, "{said}");
    assert!(said["error"].as_str().is_some_and(|error| error.contains(words)), "{said}");
}

async fn a_key_is_known(transport: Transport, key: &'static str) {
    on_a_node(transport, |node| node, key, "who").await.all_well();
}

async fn is_denied(transport: Transport) {
    let said = on_a_node(transport, |node| node.authorize(|_| false), "ed25519", "denied").await;
    said.all_well();
    let said = &said.0[0];
    assert_eq!(said["kind"], "authorization", "{said}");
    assert_eq!(said["error"], "client does not have permissions to call Lab.Ping");
}

async fn a_panic_fails_one_call(transport: Transport) {
    let said = on_a_node(transport, |node| node, "ed25519", "boom,ping").await;
    said.all_well();
    let boom = &said.0[0];
    assert!(["server", "application"].iter().any(|kind| boom["kind"] == *kind), "{boom}");
    assert!(!boom["error"].as_str().unwrap_or_default().contains("goes off"), "it says too much: {boom}");
}

async fn a_big_body_comes_back(transport: Transport) {
    on_a_node(transport, |node| node.limits(big_messages()), "ed25519", "big").await.all_well();
}

async fn is_refused_while_it_writes(transport: Transport, case: &'static str) {
    let said = on_a_node(transport, |node| node, "ed25519", &format!("{case},ping")).await;
    said.all_well();
    let refused = &said.0[0];
    assert_ne!(refused["kind"], "context", "{refused}");
    assert!(refused["millis"].as_u64() < Some(REFUSED_WITHIN_MILLIS), "{refused}");
}
