//! What isn't calls a second: multicalls, the first call of all, memory, and finding each other.

mod bare;
pub mod child;
mod cold_call;
mod discovery;
mod files;
mod memory;
mod multicall;
mod nodes;
mod tables;

use std::time::Duration;

use serde_json::{Value, json};

pub use tables::tables;

/// What went wrong, in a sentence.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The parts, by the names that [`Options::only`] takes.
pub const PARTS: [&str; 4] = ["multicall", "cold_call", "memory", "discovery"];

/// What is measured, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// One short run, to see that it works.
    pub quick: bool,
    /// Runs of each measurement; the median of them counts. 0 counts as 1.
    pub runs: usize,
    /// Names of [`PARTS`]; all of them if it is empty.
    pub only: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options { quick: false, runs: 5, only: Vec::new() }
    }
}

impl Options {
    fn runs(&self) -> usize {
        if self.quick { 1 } else { self.runs.max(1) }
    }
}

/// Measures the parts, one after the other: an object with a list of records for each.
///
/// A part that fails says so on the standard error and gives an empty list. Memory and discovery are measured in
/// processes of their own: the program has to run [`child::run`] if its first argument is [`child::ARGUMENT`], and to
/// have `stats_alloc` as its allocator, as the program `extras` does.
pub async fn measure(options: &Options) -> Value {
    let mut all = serde_json::Map::new();
    for part in PARTS {
        if !options.only.is_empty() && !options.only.iter().any(|name| name == part) {
            continue;
        }
        let measured = match part {
            "multicall" => multicall::measure(options).await,
            "cold_call" => cold_call::measure(options).await,
            "memory" => memory::measure(options).await,
            _ => discovery::measure(options).await,
        };
        let records = measured.unwrap_or_else(|error| {
            eprintln!("{part} could not be measured: {error}");
            Vec::new()
        });
        all.insert(part.into(), Value::Array(records));
    }
    Value::Object(all)
}

/// The middle one, or the mean of the two in the middle; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().saturating_sub(1) / 2), values.get(values.len() / 2));
    low.zip(high).map_or(0.0, |(low, high)| (low + high) / 2.0)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Rounded to a tenth: more digits than that are noise.
fn tenths(value: f64) -> Value {
    json!((value * 10.0).round() / 10.0)
}

fn hundredths(value: f64) -> Value {
    json!((value * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
    }
}
