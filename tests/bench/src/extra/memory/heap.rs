//! What this process has on the heap, and in memory.

use serde_json::{Value, json};
use stats_alloc::INSTRUMENTED_SYSTEM;

/// Bytes on the heap as they were asked for.
///
/// # Errors
/// If the program doesn't have `stats_alloc` as its allocator.
pub(super) fn live() -> Result<i64, &'static str> {
    let stats = INSTRUMENTED_SYSTEM.stats();
    if stats.allocations == 0 {
        return Err("the allocator of this program doesn't count");
    }
    Ok(stats.bytes_allocated as i64 - stats.bytes_deallocated as i64)
}

/// Bytes of memory that are resident; none where the system doesn't say.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Both, as a line of JSON says it.
pub(super) fn report() -> Result<Value, &'static str> {
    Ok(json!({ "heap": live()?, "rss": resident() }))
}
