//! The table at the end of a swarm.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::Speaker;
use super::text::duration;
use crate::tally::Summary;

const HEADER: [&str; 6] = ["node", "peers found", "calls", "errors", "p50", "p99"];

/// A row for each node.
pub(super) fn of(summaries: &[(Speaker, Summary)]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(HEADER);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (node, summary) in summaries {
        let took = |took: Option<_>| took.map_or_else(|| "-".to_owned(), |took| duration(took).to_string());
        table.add_row([
            node.to_string(),
            summary.peers.to_string(),
            summary.calls.to_string(),
            summary.errors.to_string(),
            took(summary.p50),
            took(summary.p99),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use p2prpc::PeerId;

    use super::*;

    #[test]
    fn a_node_is_a_row() {
        let node = |label: &str| Speaker { id: PeerId::random(), label: Some(label.into()) };
        let p50 = Some(Duration::from_micros(1250));
        let table = of(&[
            (node("node-1"), Summary { peers: 1, calls: 3, errors: 0, p50, p99: p50 }),
            (node("node-2"), Summary { peers: 0, calls: 2, errors: 2, p50: None, p99: None }),
        ]);
        let rows: Vec<Vec<String>> = table
            .to_string()
            .lines()
            .filter(|line| line.contains("node"))
            .map(|line| line.split(['│', '┆']).map(|cell| cell.trim().to_owned()).filter(|c| !c.is_empty()).collect())
            .collect();
        assert_eq!(rows[0], HEADER);
        assert_eq!(rows[1], ["node-1", "1", "3", "0", "1ms 250us", "1ms 250us"]);
        assert_eq!(rows[2], ["node-2", "0", "2", "2", "-", "-"]);
    }
}
