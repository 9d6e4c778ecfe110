//! A peer that speaks the protocol as badly as a test wants, and what it is let loose on.

mod raw;
mod scene;
mod stream;
mod target;

use std::time::Duration;

pub use raw::RawPeer;
pub use scene::{Honest, Scene, Victim};
pub use stream::{Got, RawStream, encoded, hello, request, varint};
pub use target::{Count, Nested, Probe, Target, TargetClient, TargetPeer, TargetServer};

/// The application of all these tests.
pub const PROTOCOL: &str = "/hostile/test";

/// The bytes that this process holds in memory.
///
/// # Panics
/// If the system doesn't say, as only Linux does.
pub fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux says how much memory is used");
    let pages: usize = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4096
}

/// The processor time that this process has had.
///
/// # Panics
/// If the system doesn't say, as only Linux does.
pub fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux says how much time was used");
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
