//! What p2prpc is to reach beside the others, as ratios of medians of one run.

use super::{Record, Records, Table};
use crate::peers::Transport::{self, Quic, Tcp};

const MIB: usize = 1 << 20;
/// So much of the floor is as much as there is.
const NEAR: f64 = 0.9;

/// The ratio that is at least, or at most, to be reached.
#[derive(Clone, Copy)]
enum Goal {
    AtLeast(f64),
    AtMost(f64),
    None,
}
use Goal::{AtLeast, AtMost};

/// Bytes, callers, and which figure.
type Point = (usize, usize, fn(&Record) -> Option<f64>);
/// Latency at 1 caller; calls a second at 64 and at 256; 1 MiB at 8 callers.
type Goals = [Goal; 4];

const ROWS: [(&str, &str, &str, Transport, Goals); 7] = [
    (
        "request_response, same transport",
        "request_response",
        "bare",
        Tcp,
        [AtMost(0.45), AtLeast(16.0), AtLeast(32.0), AtLeast(1.25)],
    ),
    ("gorpc (Go), TCP", "gorpc", "", Tcp, [AtMost(0.55), AtLeast(28.0), AtLeast(65.0), AtLeast(3.0)]),
    ("irpc on iroh", "irpc", "", Quic, [AtMost(0.85), AtLeast(3.8), AtLeast(9.0), AtLeast(1.7)]),
    ("tarpc, plain TCP, unencrypted", "tarpc", "", Tcp, [AtMost(1.0), AtLeast(1.35), AtLeast(3.0), AtLeast(2.0)]),
    ("tonic, TLS", "tonic", "", Tcp, [AtMost(1.0), AtLeast(1.0), AtLeast(1.0), AtLeast(1.0)]),
    (
        "floor: bare substream, echo in the reader",
        "floor_substream",
        "",
        Tcp,
        [AtMost(1.15), AtLeast(0.9), AtLeast(0.9), AtLeast(0.9)],
    ),
    (
        "request_response over QUIC, p2prpc over QUIC",
        "request_response",
        "bare",
        Quic,
        [Goal::None, AtLeast(7.0), AtLeast(13.0), Goal::None],
    ),
];

/// A row for each that was measured.
pub fn goals(records: &Records) -> Table {
    let header =
        ["p2prpc against", "p50, 1 caller", "calls/s, 64 callers", "calls/s, 256 callers", "1 MiB echo, 8 callers"];
    let mut table = Table { header: header.map(str::to_owned).into(), rows: Vec::new() };
    for (title, name, variant, transport, goals) in ROWS {
        // p2prpc goes over TCP but where the other is p2prpc's own transport's match over QUIC.
        let own = if name == "request_response" { transport } else { Tcp };
        let points: [Point; 4] = [
            (64, 1, |record| record.p50_us),
            (64, 64, |record| record.calls_per_s),
            (64, 256, |record| record.calls_per_s),
            (MIB, 8, |record| record.calls_per_s),
        ];
        let cells = points.iter().zip(goals).map(|((bytes, callers, of), goal)| {
            let ours = records.find("p2prpc", "", own, *bytes, *callers).and_then(of);
            let theirs = records.find(name, variant, transport, *bytes, *callers).and_then(of);
            let floor = records.find("floor_substream", "", Tcp, *bytes, *callers).and_then(of);
            ours.zip(theirs).map(|(ours, theirs)| match (goal, floor) {
                // More than the substream itself carries can't be asked for.
                (AtLeast(least), Some(floor))
                    if *bytes == MIB && ours < least * theirs && floor < least * theirs && ours >= NEAR * floor =>
                {
                    format!("{:.2}x (≥ {least} is past the floor)", ours / theirs)
                }
                _ => cell(ours / theirs, goal),
            })
        });
        let cells: Vec<_> = cells.collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "–".into()));
            table.rows.push(std::iter::once(title.to_owned()).chain(cells).collect());
        }
    }
    table
}

fn cell(ratio: f64, goal: Goal) -> String {
    match goal {
        Goal::None => format!("{ratio:.2}x"),
        AtMost(most) if ratio <= most => format!("{ratio:.2}x (≤ {most})"),
        AtMost(most) => format!("**{ratio:.2}x** (missed: ≤ {most})"),
        AtLeast(least) if ratio >= least => format!("{ratio:.2}x (≥ {least})"),
        AtLeast(least) => format!("**{ratio:.2}x** (missed: ≥ {least})"),
    }
}
