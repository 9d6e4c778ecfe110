//! The lines of the plots, picked out of the records.

use serde_json::Value;

/// A line: its name, and its points by x.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

impl Series {
    /// Lines of one family have one colour.
    pub(super) fn family(&self) -> &str {
        self.name.split_once(", ").map_or(&self.name, |(family, _)| family)
    }

    /// A family's line over QUIC, beside the one over TCP.
    pub(super) fn is_dashed(&self) -> bool {
        self.name.ends_with(", QUIC")
    }
}

/// A line for multicalls that all answer, and one for those with a silent peer: its time is until the others have.
pub(super) fn of_multicalls(records: &[Value]) -> Vec<Series> {
    let name = |silent| if silent { "all but a silent one" } else { "all answer" };
    collect(records.iter().filter_map(|record| {
        let silent = record["silent"].as_bool().unwrap_or_default();
        Some((name(silent).into(), record["peers"].as_f64()?, record["others_us"].as_f64()?))
    }))
}

/// A line for each transport.
pub(super) fn of_discovery(records: &[Value]) -> Vec<Series> {
    collect(records.iter().filter_map(|record| {
        Some((text(record, "transport")?.to_uppercase(), record["nodes"].as_f64()?, record["seconds"].as_f64()?))
    }))
}

/// A line for each way of calling, of messages of so many bytes.
pub(super) fn of_calls(records: &[Value], bytes: u64) -> Vec<Series> {
    collect(records.iter().filter(|record| record["bytes"].as_u64() == Some(bytes)).filter_map(|record| {
        Some((way_of_calling(record)?, record["callers"].as_f64()?, record["calls_per_s"].as_f64()?))
    }))
}

/// A line for each way of calling.
pub(super) fn of_throughput(records: &[Value]) -> Vec<Series> {
    collect(
        records.iter().filter_map(|record| {
            Some((way_of_calling(record)?, record["bytes"].as_f64()?, record["mib_per_s"].as_f64()?))
        }),
    )
}

fn text<'a>(record: &'a Value, field: &str) -> Option<&'a str> {
    record[field].as_str().filter(|text| !text.is_empty())
}

/// Such as `p2prpc, QUIC`. Only what can be told apart is drawn: both ends in one process, one codec, one floor.
fn way_of_calling(record: &Value) -> Option<String> {
    let name = text(record, "name")?;
    let drawn = record["processes"].as_u64() == Some(1)
        && text(record, "variant").is_none_or(|variant| variant == "bare")
        && (name == "floor_substream" || !name.starts_with("floor"));
    let transport = text(record, "transport")?.to_uppercase();
    drawn.then(|| format!("{name}, {transport}"))
}

/// Points of the same name make a line; of two at the same x the higher one stays. A logarithm shows only what is above 0.
fn collect(points: impl Iterator<Item = (String, f64, f64)>) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for (name, x, y) in points.filter(|(_, x, y)| x.is_normal() && y.is_normal() && *x > 0.0 && *y > 0.0) {
        let at = all.iter().position(|series| series.name == name).unwrap_or_else(|| {
            all.push(Series { name, points: Vec::new() });
            all.len() - 1
        });
        let Some(Series { points, .. }) = all.get_mut(at) else { continue };
        match points.iter_mut().find(|point| point.0 == x) {
            Some(point) => point.1 = point.1.max(y),
            None => points.push((x, y)),
        }
    }
    for series in &mut all {
        series.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_best_number_of_callers_counts() {
        let record = |callers: u32, rate: f64| json!({"name": "p2prpc", "transport": "tcp", "variant": "", "processes": 1, "bytes": 4096, "callers": callers, "mib_per_s": rate});
        let series = of_throughput(&[record(1, 10.0), record(64, 90.0), record(1024, 80.0)]);
        assert_eq!(series, [Series { name: "p2prpc, TCP".into(), points: vec![(4096.0, 90.0)] }]);
    }

    #[test]
    fn what_failed_is_left_out() {
        let records = [
            json!({"nodes": 50, "transport": "tcp", "seconds": null}),
            json!({"nodes": 10, "transport": "tcp", "seconds": 0.5}),
            json!({"nodes": 20}),
        ];
        assert_eq!(of_discovery(&records), [Series { name: "TCP".into(), points: vec![(10.0, 0.5)] }]);
    }
}
