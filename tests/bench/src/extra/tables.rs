//! The records as tables.

use comfy_table::Table;
use serde_json::Value;

/// A part's fields that make its columns, and what is said above them.
const COLUMNS: [(&str, &[(&str, &str)]); 4] = [
    (
        "multicall",
        &[
            ("peers", "peers"),
            ("silent", "one is silent"),
            ("others_us", "others, µs"),
            ("all_us", "all, µs"),
            ("per_peer_us", "a peer, µs"),
            ("per_peer_beside_8", "beside 8 peers"),
        ],
    ),
    (
        "cold_call",
        &[
            ("transport", "transport"),
            ("p2prpc_us", "node, µs"),
            ("behaviour_us", "behaviour alone, µs"),
            ("bare_us", "bare libp2p, µs"),
            ("ratio", "node to bare"),
            ("behaviour_ratio", "behaviour to bare"),
        ],
    ),
    (
        "memory",
        &[
            ("what", "what"),
            ("end", "end"),
            ("count", "of"),
            ("p2prpc_bytes", "p2prpc, B"),
            ("bare_bytes", "bare libp2p, B"),
            ("beyond_bytes", "beyond, B"),
        ],
    ),
    (
        "discovery",
        &[("nodes", "nodes"), ("transport", "transport"), ("seconds", "seconds"), ("missing_pairs", "missing pairs")],
    ),
];

/// A title and a table for each part that has records.
pub fn tables(measured: &Value) -> Vec<(&'static str, Table)> {
    let mut tables = Vec::new();
    for (part, columns) in COLUMNS {
        let Some(records) = measured[part].as_array().filter(|records| !records.is_empty()) else { continue };
        let mut table = Table::new();
        table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED);
        table.set_header(columns.iter().map(|(_, title)| *title));
        for record in records {
            table.add_row(columns.iter().map(|(field, _)| cell(&record[*field])));
        }
        tables.push((part, table));
    }
    tables
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
