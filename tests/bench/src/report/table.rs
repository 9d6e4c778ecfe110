use super::{Record, Records};
use crate::peers::Peer;

/// Rows of texts, for a terminal or for Markdown.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The names of its columns.
    pub header: Vec<String>,
    /// As many texts each.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// For Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule: Vec<_> = self.header.iter().map(|_| "---".to_owned()).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        [line(&self.header), line(&rule), rows].concat()
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.set_header(&self.header).add_rows(&self.rows);
        table.to_string()
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A peer a row.
pub fn calls(peers: &[Peer], records: &Records) -> Table {
    let header = [
        "64 B echo, both ends in one process",
        "p50, 1 caller",
        "calls/s, 1",
        "calls/s, 64",
        "p99, 64",
        "calls/s, 256",
        "calls/s, 1,024",
        "64 KiB, 8: MiB/s",
        "1 MiB, 8: MiB/s",
        "CPU a call, 64",
        "allocations a call",
    ];
    let rows = peers.iter().map(|peer| {
        let at = |bytes, callers| records.find(peer.name, peer.variant, peer.transport, bytes, callers);
        let micros = |figure: Option<f64>| figure.map_or("–".into(), |micros| format!("{micros:.1} µs"));
        let calls = |callers| at(64, callers).and_then(|record| record.calls_per_s).map_or("–".into(), thousands);
        let rate = |bytes, callers| {
            at(bytes, callers).and_then(|record| record.mib_per_s).map_or("–".into(), |rate| format!("{rate:.0}"))
        };
        let allocs = at(64, 64).and_then(|record| record.allocs_per_call);
        vec![
            peer.title(),
            micros(at(64, 1).and_then(|record| record.p50_us)),
            calls(1),
            calls(64),
            micros(at(64, 64).and_then(|record| record.p99_us)),
            calls(256),
            calls(1024),
            rate(64 * KIB, 8),
            rate(MIB, 8),
            micros(at(64, 64).and_then(|record| record.cpu_us_per_call)),
            allocs.map_or("–".into(), |allocs| format!("{allocs:.1}")),
        ]
    });
    Table { rows: rows.collect(), header: header.map(str::to_owned).into() }
}

/// Each end in a process of its own: a peer a row.
pub fn apart(records: &Records) -> Table {
    let header =
        ["64 B echo, each end in a process", "p50, 1 caller", "calls/s, 64", "calls/s, 256", "1 MiB, 8: MiB/s"];
    let mut table = Table { header: header.map(str::to_owned).into(), rows: Vec::new() };
    let of_two = records.0.iter().filter(|record| record.processes == 2);
    for first in of_two.clone().filter(|record| (record.bytes, record.callers) == (64, 1)) {
        let at = |bytes, callers| {
            let same = |record: &&Record| {
                (record.name, record.variant, record.transport) == (first.name, first.variant, first.transport)
                    && (record.bytes, record.callers) == (bytes, callers)
            };
            of_two.clone().find(same)
        };
        let calls = |callers| at(64, callers).and_then(|record| record.calls_per_s).map_or("–".into(), thousands);
        table.rows.push(vec![
            [first.name, " ", first.variant, " ", first.transport].concat().replace("  ", " "),
            first.p50_us.map_or("–".into(), |micros| format!("{micros:.1} µs")),
            calls(64),
            calls(256),
            at(MIB, 8).and_then(|record| record.mib_per_s).map_or("–".into(), |rate| format!("{rate:.0}")),
        ]);
    }
    table
}

/// 1234567.8 as 1,234,568.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
