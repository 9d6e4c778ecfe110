use serde::Serialize;

use crate::load::{Figures, Work};
use crate::peers::{Peer, Transport};

/// One peer's figures for one kind of work: medians of the runs, and the spread of the calls a second.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the README says what they are")]
pub struct Record {
    pub name: &'static str,
    pub variant: &'static str,
    pub version: String,
    pub transport: &'static str,
    pub processes: usize,
    pub bytes: usize,
    pub callers: usize,
    pub calls_per_s: Option<f64>,
    pub calls_per_s_min: Option<f64>,
    pub calls_per_s_max: Option<f64>,
    pub mib_per_s: Option<f64>,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub p999_us: Option<f64>,
    pub cpu_us_per_call: Option<f64>,
    pub allocs_per_call: Option<f64>,
}

impl Record {
    /// Of all runs of this peer at this work; of none if it could not be measured.
    pub fn new(peer: Peer, version: String, processes: usize, work: Work, runs: &[Figures]) -> Self {
        let sorted = |of: fn(&Figures) -> f64| {
            let mut all: Vec<_> = runs.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let median = |of: fn(&Figures) -> f64| sorted(of).get(runs.len() / 2).copied();
        let calls = sorted(|figures| figures.calls_per_s);
        let calls_per_s = calls.get(calls.len() / 2).copied();
        Record {
            name: peer.name,
            variant: peer.variant,
            version,
            transport: peer.transport.name(),
            processes,
            bytes: work.bytes,
            callers: work.callers,
            calls_per_s,
            calls_per_s_min: calls.first().copied(),
            calls_per_s_max: calls.last().copied(),
            mib_per_s: calls_per_s.map(|calls| calls * work.bytes as f64 / f64::from(1 << 20)),
            p50_us: median(|figures| figures.p50_us),
            p99_us: median(|figures| figures.p99_us),
            p999_us: median(|figures| figures.p999_us),
            // With two processes the figure is of the caller's alone.
            cpu_us_per_call: median(|figures| figures.cpu_us_per_call.unwrap_or(f64::NAN)).filter(|cpu| !cpu.is_nan()),
            allocs_per_call: None,
        }
    }
}

/// All of a run.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Records(pub Vec<Record>);

impl Records {
    /// Both ends in one process.
    pub fn find(
        &self,
        name: &str,
        variant: &str,
        transport: Transport,
        bytes: usize,
        callers: usize,
    ) -> Option<&Record> {
        self.0.iter().find(|record| {
            (record.name, record.variant, record.transport) == (name, variant, transport.name())
                && (record.processes, record.bytes, record.callers) == (1, bytes, callers)
        })
    }
}
