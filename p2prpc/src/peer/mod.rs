//! One peer's call streams: frames in and out, calls in flight, cancellation. It knows substreams, not swarms.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects))]

mod connection;
mod mux;
mod permits;
mod queue;
mod session;
mod session_config;
mod single;
mod streams;
mod substreams;
mod timer;
mod waiting;

#[cfg(test)]
mod tests;

pub(crate) use connection::{Connection, NOT_ADMITTED, Wanted, by_evidence};
pub(crate) use mux::client::ClientStream;
pub(crate) use mux::server::ServerStream;
pub(crate) use mux::server_task::spawn as serve_native;
pub(crate) use session::{Opener, PeerSession};
pub(crate) use session_config::{Reports, SessionConfig};
pub(crate) use single::{ConnectionKey, Single, serve_gorpc};
pub(crate) use timer::EarliestTimer;

use std::time::Duration;

use crate::clock::now;

/// The other end's `Hello` has to come within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A frame or body that has begun has to go on within this time.
const MOVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How fast a begun body has to come over all, in bytes a second.
const MIN_BODY_RATE: u64 = 16 * 1024;
/// Frames that are handled before the stream gives its thread away.
const FRAMES_A_TURN: usize = 64;
/// Buffers that only a busy stream needs are kept for so long after the last call.
const SHRINK_AFTER: Duration = Duration::from_secs(1);
/// How long a stream that is to end may take to say so.
const LINGER: Duration = Duration::from_secs(1);
