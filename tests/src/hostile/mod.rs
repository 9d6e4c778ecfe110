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
