//! A peer that speaks the protocol as badly as a test wants, and what it is let loose on.

mod raw;
mod scene;
mod stream;
mod target;

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
