//! Many nodes in one process.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{Program, SOON, command, event};

#[test]
fn three_nodes_echo_each_other_in_every_round() {
    let mut program =
        Program::start(command(["swarm", "3", "--rounds", "3", "--interval", "100ms", "--message", "m{round}."]));
    assert_eq!(program.end(SOON).code(), Some(0), "{program}");
    let lines = program.out.all();
    for node in 1..=3 {
        for round in 1..=3 {
            let echoes = lines.iter().filter(|line| {
                line.starts_with(&format!("[node-{node}] Peer 12D3Koo"))
                    && line.contains(&format!(" echoing: m{round}. ("))
            });
            assert_eq!(echoes.count(), 2, "node {node}, round {round}: {program}");
        }
        let row: Vec<_> = lines
            .iter()
            .rfind(|line| line.contains(&format!(" node-{node} ")))
            .unwrap_or_else(|| panic!("no row: {program}"))
            .split(['│', '┆'])
            .map(str::trim)
            .collect();
        assert_eq!(row[2..5], ["2", "6", "0"], "{program}");
    }
    assert!(lines.iter().any(|line| line.contains("peers found")), "{program}");
    assert!(program.err.all().iter().any(|line| line.starts_with("All 3 nodes know each other")), "{program}");
    assert!(!lines.iter().any(|line| line.contains('\u{1b}')), "colours in a pipe: {program}");
}

#[test]
fn json_is_all_there_is_on_stdout_and_each_node_has_a_summary() {
    let mut program = Program::start(command(["swarm", "3", "--rounds", "2", "--interval", "100ms", "--json"]));
    assert_eq!(program.end(SOON).code(), Some(0), "{program}");
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    for event in program.out.all().iter().map(|line| event(line)) {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        *seen.entry((text("event"), text("node"))).or_default() += 1;
        if event["event"] == "summary" {
            assert_eq!((event["peers"].as_u64(), event["calls"].as_u64()), (Some(2), Some(4)), "{event}");
            assert_eq!(event["errors"].as_u64(), Some(0), "{event}");
            assert!(event["p50_micros"].as_u64() <= event["p99_micros"].as_u64(), "{event}");
        }
    }
    for (name, each) in [("listening", 1), ("peer_joined", 2), ("echo", 4), ("summary", 1)] {
        let counts: Vec<_> = seen.iter().filter(|((event, _), _)| event == name).map(|(_, count)| *count).collect();
        assert_eq!(counts, [each; 3], "{name}: {program}");
    }
}

#[test]
fn one_node_has_nobody_to_wait_for() {
    let mut program = Program::start(command(["swarm", "1"]));
    assert_eq!(program.end(SOON).code(), Some(0), "{program}");
    assert!(program.out.all().iter().any(|line| line.contains("node-1 ┆")), "{program}");
}

#[test]
fn without_rounds_it_goes_on_until_ctrl_c() {
    let mut program = Program::start(command(["swarm", "2", "--interval", "50ms"]));
    for round in [1, 10] {
        let said = format!("echoing: Message ({round}): Hello from ");
        assert!(program.out.find(0, SOON, |line| line.contains(&said).then_some(())).is_some(), "{program}");
    }
    program.signal(Signal::INT);
    assert_eq!(program.end(SOON).code(), Some(0), "{program}");
    assert!(program.out.all().iter().any(|line| line.contains("peers found")), "{program}");
}

/// The program, with so many open files allowed.
fn with_open_files(limit: u64, args: &str) -> Program {
    let mut command = Command::new("sh");
    command.args(["-c", &format!(r#"ulimit -n {limit} && exec "$0" {args}"#), env!("CARGO_BIN_EXE_echo-demo")]);
    command.stdin(Stdio::null()).env_remove("RUST_LOG");
    Program::start(command)
}

#[test]
fn too_few_open_files_are_said_in_a_sentence() {
    let mut program = with_open_files(100, "swarm 20 --rounds 1");
    assert_eq!(program.end(SOON).code(), Some(2), "{program}");
    assert!(program.out.all().is_empty(), "{program}");
    let said = program.err.all();
    assert_eq!(said.len(), 1, "{program}");
    assert!(said[0].starts_with("echo-demo: swarm wants ") && said[0].contains("allows 100"), "{program}");
}

#[test]
fn few_open_files_are_enough_by_quic() {
    let mut program = with_open_files(160, "swarm 8 --rounds 1 --interval 100ms");
    assert_eq!(program.end(SOON).code(), Some(0), "{program}");
    assert!(program.out.all().iter().any(|line| line.contains("/quic-v1/")), "{program}");
    let said = program.err.all();
    assert!(said.iter().any(|line| line.starts_with("The nodes talk QUIC") && line.contains("160")), "{program}");
}
