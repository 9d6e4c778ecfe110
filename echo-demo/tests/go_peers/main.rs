//! `echo-demo` beside echo nodes in Go, each a process. Where there is no Go, all of this is ignored.

mod churn;
mod node;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use p2prpc_tests::golang;

use node::{Kind, Node};

/// Every call of the first rounds is answered within this, from the start of the last node.
const SWARM_WITHIN: Duration = Duration::from_secs(30);
const ROUNDS: usize = 5;
/// From the first line of a node that takes another one's place until all echo it.
const RESTARTED_WITHIN: Duration = Duration::from_secs(5);
const KILLED_LEAVES_WITHIN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = golang::missing();
    if let Some(why) = missing {
        eprintln!("{why}");
    }
    let test = |name: &str, test: fn()| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(missing.is_some())
    };
    let trials = vec![
        test("all_echo_all_through_a_go_node", || all_echo_all(Kind::Go)),
        test("all_echo_all_through_a_rust_node", || all_echo_all(Kind::Rust)),
        test("nodes_of_2021_echo_through_a_node_of_2021", || of_2021_echo(Kind::Go2021)),
        test("nodes_of_2021_echo_through_a_rust_node", || of_2021_echo(Kind::Rust)),
        test("a_rust_node_finds_a_go_node_that_it_is_not_told_of", found_through_the_dht),
        test("nodes_that_are_killed_and_started_again_are_echoed", || churn::churn(3, SWARM_WITHIN)),
        // On request: `--ignored`.
        test("three_minutes_of_kills_and_restarts", || churn::churn(18, RESTARTED_WITHIN)).with_ignored_flag(true),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The first of `first`, and the others through it alone.
fn swarm(first: Kind, others: &[Kind]) -> Vec<Node> {
    let mut nodes = vec![Node::start(first, None)];
    let address = nodes[0].address();
    nodes.extend(others.iter().map(|kind| Node::start(*kind, Some(&address))));
    nodes
}

/// Each node of Rust echoes each other and is echoed by it. Between nodes of Go it is their own matter.
fn wait_for_echoes(nodes: &[Node], rounds: usize, within: Duration) {
    let end = Instant::now() + within;
    let pairs = nodes.iter().flat_map(|from| nodes.iter().map(move |to| (from, to)));
    for (from, to) in pairs.filter(|(from, to)| from.id != to.id && (from.is_rust() || to.is_rust())) {
        let left = end.saturating_duration_since(Instant::now());
        assert!(from.is_echoed_by(to, rounds, left), "{rounds} rounds of {from:?} at {to:?}: {}", report(nodes));
    }
}

fn report(nodes: &[Node]) -> String {
    nodes.iter().map(|node| format!("\n--- {node:?}\n{}", node.program)).collect()
}

fn all_echo_all(first: Kind) {
    let others = match first {
        Kind::Rust => [Kind::Go, Kind::Go, Kind::Rust, Kind::Rust],
        Kind::Go | Kind::Go2021 => [Kind::Rust, Kind::Rust, Kind::Rust, Kind::Go],
    };
    let mut nodes = swarm(first, &others);
    wait_for_echoes(&nodes, ROUNDS, SWARM_WITHIN);

    let last = nodes.iter().rposition(|node| !node.is_rust()).unwrap();
    let mut killed = nodes.swap_remove(last);
    let before: Vec<_> = nodes.iter().map(Node::now).collect();
    killed.program.kill();
    for (node, before) in nodes.iter().zip(before).filter(|(node, _)| node.is_rust()) {
        assert!(node.says_that_it_left(&killed, before, KILLED_LEAVES_WITHIN), "{}", report(&nodes));
    }
    // Nobody hangs: those that are left go on.
    for node in nodes.iter().filter(|node| node.is_rust()) {
        let now = node.now();
        for other in nodes.iter().filter(|other| other.id != node.id) {
            assert!(node.is_echoed_again_by(other, now, SWARM_WITHIN), "{node:?} at {other:?}: {}", report(&nodes));
        }
    }
}

fn of_2021_echo(first: Kind) {
    let others = match first {
        Kind::Rust => [Kind::Go2021, Kind::Rust],
        Kind::Go | Kind::Go2021 => [Kind::Rust, Kind::Rust],
    };
    wait_for_echoes(&swarm(first, &others), ROUNDS, SWARM_WITHIN);
}

fn found_through_the_dht() {
    let nodes = swarm(Kind::Rust, &[Kind::Go]);
    wait_for_echoes(&nodes, 1, SWARM_WITHIN);
    let late = Node::start(Kind::Rust, Some(&nodes[0].address()));
    let within = SWARM_WITHIN;
    assert!(late.is_echoed_by(&nodes[1], 1, within), "{}\n--- {late:?}\n{}", report(&nodes), late.program);
}
