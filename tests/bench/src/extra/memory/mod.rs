//! What a connected peer and a call under way take on the heap, beside a bare connection with the same company.
//!
//! The hub is a process of its own, its clients are another: so each end is counted by itself. A bare peer has
//! Kademlia, identify and ping, as a node of p2prpc has, and nothing else.

mod clients;
mod heap;
pub(super) mod hub;

use serde_json::{Value, json};

use super::child::Process;
use super::{Error, Options, median, tenths};

pub(super) use clients::child;

/// Peers that are connected to the hub.
const CONNECTIONS: usize = 200;
/// Calls that are under way at the same time.
const CALLS: usize = 1_000;

/// What both kinds of peers are measured at, in the order of their moments.
const MOMENTS: [(&str, &str); 2] = [("connected", "idle connection"), ("called", "idle connection after a call")];

/// Bytes of each end: of a connection, of a call, and of the hub with all its connections.
pub(super) async fn measure(options: &Options) -> Result<Vec<Value>, Error> {
    let mut ours = Vec::new();
    let mut bare = Vec::new();
    for _ in 0..options.runs() {
        ours.push(run("p2prpc").await?);
        bare.push(run("bare").await?);
    }
    let of = |runs: &[Value], moment: &str, field: &str| {
        median(runs.iter().filter_map(|run| run[moment][field].as_f64()).collect())
    };
    let mut records = Vec::new();
    for (moment, what) in MOMENTS {
        for end in ["server", "client"] {
            let (ours, bare) = (of(&ours, moment, end), of(&bare, "connected", end));
            records.push(json!({
                "what": what, "end": end, "count": CONNECTIONS, "p2prpc_bytes": tenths(ours), "bare_bytes": tenths(bare),
                "beyond_bytes": tenths(ours - bare),
            }));
        }
    }
    for end in ["server", "client", "both"] {
        let bytes = match end {
            "both" => of(&ours, "calls", "server") + of(&ours, "calls", "client"),
            end => of(&ours, "calls", end),
        };
        records.push(json!({ "what": "call under way", "end": end, "count": CALLS, "p2prpc_bytes": tenths(bytes) }));
    }
    for (field, what) in [("heap", "heap of the hub"), ("rss", "resident memory of the hub")] {
        let (ours, bare) = (of(&ours, "hub", field), of(&bare, "hub", field));
        records.push(json!({
            "what": what, "end": "server", "count": CONNECTIONS, "p2prpc_bytes": tenths(ours), "bare_bytes": tenths(bare),
            "beyond_bytes": tenths(ours - bare),
        }));
    }
    Ok(records)
}

async fn run(kind: &str) -> Result<Value, Error> {
    Process::start(&["memory", kind, &CONNECTIONS.to_string()])?.hear().await
}

/// Both kinds of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    P2prpc,
    Bare,
}

impl Kind {
    fn named(name: &str) -> Result<Self, Error> {
        match name {
            "p2prpc" => Ok(Kind::P2prpc),
            "bare" => Ok(Kind::Bare),
            other => Err(format!("no peer is of the kind {other}").into()),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::P2prpc => "p2prpc",
            Kind::Bare => "bare",
        }
    }
}
