//! Random troubles, the same each time for a seed.

use std::env;
use std::fmt::Write;
use std::process::Command;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::net::{Net, Setup, State};
use super::secs;

/// The seed to play again.
const SEED: &str = "P2PRPC_SEED";
/// The file that a trace is written to.
const TRACE: &str = "P2PRPC_TRACE";
const NODES: usize = 16;

/// Nodes start, die, come back, stall and lose their network at random; once that is over all that are there know all others.
fn troubles(seed: u64) -> Result<Net, String> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut net = Net::seeded(seed);
    // One bootstrap peer is left in peace.
    for _ in 0..NODES {
        net.start(Setup::default());
        net.run(secs(random.random_range(0..2)));
    }
    for _ in 0..30 {
        let node = random.random_range(1..NODES);
        match (net.nodes[node].state, random.random_range(0..5)) {
            (State::Gone, _) => net.restart(node, &Setup::default()),
            (State::Stopped, _) => net.go_on(node),
            (State::Running, 0) => net.kill(node),
            (State::Running, 1) => net.leave(node),
            (State::Running, 2) => net.stop(node),
            (State::Running, _) if net.cut.contains(&node) => net.mend(node),
            (State::Running, 3) => net.cut(node),
            (State::Running, _) => {
                let other = *[1, 2, 3].choose(&mut random).unwrap_or(&1);
                net.disconnect(node, (node + other) % NODES);
            }
        }
        net.run(secs(random.random_range(0..20)));
    }
    for node in 1..NODES {
        net.mend(node);
        if net.nodes[node].state == State::Stopped {
            net.go_on(node);
        }
    }
    match net.run_until(secs(150), Net::is_complete) {
        Some(_) => Ok(net),
        None => Err(format!("not all know all others in the end; to see it again:\n    {}", replay(seed))),
    }
}

/// What plays a seed again.
fn replay(seed: u64) -> String {
    format!("{SEED}={seed} cargo test -p p2prpc --all-features --lib random_troubles")
}

#[test]
fn random_troubles_end_with_all_knowing_all() {
    let seeds = match env::var(SEED) {
        Ok(seed) => vec![seed.parse().expect("a seed is a number")],
        Err(_) => (0..12).collect(),
    };
    let failed: Vec<String> = seeds.into_iter().filter_map(|seed| troubles(seed).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn trace(seed: u64) -> String {
    let net = troubles(seed).unwrap_or_else(|failed| panic!("{failed}"));
    let mut text = String::new();
    for (at, node, line) in &net.trace {
        writeln!(text, "{} us, node {node}: {line}", at.as_micros()).expect("there is room");
    }
    text
}

/// Also what a process of its own runs, which writes its trace to a file.
#[test]
fn one_seed_gives_one_trace_in_any_process() {
    let first = trace(7);
    if let Ok(path) = env::var(TRACE) {
        return std::fs::write(path, first).expect("the trace is written");
    }
    assert!(first.lines().count() > 1000, "much happens");
    assert_eq!(first, trace(7), "in one process");
    assert_ne!(first, trace(8), "the seed counts");
    let file = tempfile::NamedTempFile::new().expect("a file for the trace");
    // Not the name of the thread: with one thread for all tests that is another.
    let (_, module) = module_path!().split_once("::").expect("it is in the crate");
    let this = format!("{module}::one_seed_gives_one_trace_in_any_process");
    let mut other = Command::new(env::current_exe().expect("this is a program"));
    let output = other.args(["--exact", &this, "--test-threads=1"]).env(TRACE, file.path()).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::fs::read_to_string(file.path()).expect("it was written"), first, "in another process");
}
