//! What was measured, as pictures: SVG on a white ground.

mod chart;
mod series;

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::Value;

use chart::{Chart, Unit};

/// Bytes of a message in the plot of calls a second.
const BYTES: u64 = 64;

/// Draws into `dir`, which is made if it isn't there, what there is data for, and gives the files that it wrote.
///
/// `measured` has the lists `multicall` and `discovery` of [`extra::measure`](crate::extra::measure), and `records` of
/// calls, each with `name`, `transport`, `variant`, `bytes`, `callers`, `calls_per_s` and `mib_per_s`. What is missing,
/// or null, isn't drawn.
///
/// # Errors
/// If a file can't be written.
pub fn draw(measured: &Value, dir: &Path) -> Result<Vec<PathBuf>, Box<dyn Error + Send + Sync>> {
    std::fs::create_dir_all(dir)?;
    let list = |name: &str| measured[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let charts = [
        Chart {
            file: "multicall.svg",
            title: "One call to many peers",
            x: ("peers", Unit::Count),
            y: ("time until all have answered", Unit::Micros),
            series: series::of_multicalls(list("multicall")),
        },
        Chart {
            file: "discovery.svg",
            title: "Until all nodes know each other",
            x: ("nodes", Unit::Count),
            y: ("time since the last node's start", Unit::Seconds),
            series: series::of_discovery(list("discovery")),
        },
        Chart {
            file: "calls.svg",
            title: "Calls a second, 64 bytes each way",
            x: ("callers of one peer", Unit::Count),
            y: ("calls a second", Unit::Count),
            series: series::of_calls(list("records"), BYTES),
        },
        Chart {
            file: "throughput.svg",
            title: "Throughput of the best number of callers",
            x: ("bytes of a message", Unit::Bytes),
            y: ("MiB a second", Unit::Count),
            series: series::of_throughput(list("records")),
        },
    ];
    let mut drawn = Vec::new();
    for chart in charts.iter().filter(|chart| !chart.is_empty()) {
        let path = dir.join(chart.file);
        chart.draw(&path).map_err(|error| format!("{} could not be drawn: {error}", path.display()))?;
        drawn.push(path);
    }
    Ok(drawn)
}
