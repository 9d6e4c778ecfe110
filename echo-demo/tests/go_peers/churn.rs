//! Nodes that are killed and started again, one each ten seconds.

use std::time::{Duration, Instant};

use super::node::{Kind, Node};
use super::{SWARM_WITHIN, report, swarm, wait_for_echoes};

const KINDS: [Kind; 9] =
    [Kind::Go, Kind::Go2021, Kind::Rust, Kind::Go, Kind::Rust, Kind::Go2021, Kind::Rust, Kind::Go, Kind::Rust];
const EVERY: Duration = Duration::from_secs(10);
/// Memory that a node of Rust may take more at the end than before the first round. The allocator keeps for each thread
/// what a burst has taken.
const MOST_GROWTH: u64 = 64 * 1024 * 1024;
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// So many rounds in which one is killed, another starts in its place, and all nodes of Rust echo it, and it them, `within` a time.
pub(crate) fn churn(rounds: usize, within: Duration) {
    let mut nodes = swarm(Kind::Rust, &KINDS);
    wait_for_echoes(&nodes, 1, SWARM_WITHIN);
    let bootstrap = nodes[0].address();
    let before: Vec<(String, Option<u64>)> = memory(&nodes);
    for round in 0..rounds {
        let started = Instant::now();
        // All but the one that the others join through, in turn; by threes, so that kinds mix.
        let victim = 1 + (round * 4) % KINDS.len();
        let kind = KINDS[victim - 1];
        nodes[victim].program.kill();
        let marks: Vec<usize> = nodes.iter().map(Node::now).collect();
        nodes[victim] = Node::start(kind, Some(&bootstrap));
        let end = Instant::now() + within;
        let newcomer = &nodes[victim];
        for (number, node) in nodes.iter().enumerate().filter(|(number, _)| *number != victim) {
            let left = || end.saturating_duration_since(Instant::now());
            if node.is_rust() {
                let heard = node.is_echoed_again_by(newcomer, marks[number], left());
                assert!(heard, "round {round}: {newcomer:?} at {node:?}: {}", report(&nodes));
            }
            if newcomer.is_rust() {
                let heard = newcomer.is_echoed_by(node, 1, left());
                assert!(heard, "round {round}: {node:?} at {newcomer:?}: {}", report(&nodes));
            }
        }
        std::thread::sleep(EVERY.saturating_sub(started.elapsed()));
        // Nobody hangs: each node of Rust goes on with each that lives.
        for node in nodes.iter().filter(|node| node.is_rust()) {
            let now = node.now();
            for other in nodes.iter().filter(|other| other.id != node.id) {
                let goes_on = node.is_echoed_again_by(other, now, SWARM_WITHIN);
                assert!(goes_on, "round {round}: {node:?} at {other:?}: {}", report(&nodes));
            }
        }
    }
    // What a burst has taken is given back after a while.
    let end = Instant::now() + SETTLED_WITHIN;
    while let Some(grown) = grown(&before, &memory(&nodes)) {
        assert!(Instant::now() < end, "{grown}");
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// Who has grown, if one has.
fn grown(before: &[(String, Option<u64>)], after: &[(String, Option<u64>)]) -> Option<String> {
    before.iter().find_map(|(node, bytes)| {
        let now = after.iter().find(|(other, _)| other == node).and_then(|(_, now)| *now);
        let (bytes, now) = (*bytes, now?);
        (now > bytes? + MOST_GROWTH).then(|| format!("{node} has grown from {bytes:?} to {now} bytes"))
    })
}

/// What the nodes of Rust take, where that can be known.
fn memory(nodes: &[Node]) -> Vec<(String, Option<u64>)> {
    nodes.iter().filter(|node| node.is_rust()).map(|node| (node.id.clone(), node.program.resident())).collect()
}
