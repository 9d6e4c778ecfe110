//! What both ends say first.

use crate::codec::CodecId;
use crate::limits::Limits;
use crate::wire::{self, Hello, Role};

/// What this node takes, as it says so.
pub(crate) fn hello(limits: &Limits) -> Hello {
    let least = wire::MIN_LIMIT_BYTES;
    Hello {
        max_calls: limits.calls_of_a_peer() as u64,
        max_message: (limits.max_message as u64).max(least),
        max_bytes_in_flight: (limits.bytes_of_a_peer() as u64).max(least),
        codecs: CodecId::supported().iter().map(|codec| u64::from(codec.get())).collect(),
        ..Hello::default()
    }
}

/// The same on an item stream, as its frame.
pub(crate) fn encoded_item_hello(limits: &Limits) -> Vec<u8> {
    let mut encoded = Vec::new();
    // The limits of a node are checked when it is made.
    let _ = wire::encode_hello(&mut encoded, &Hello { role: Role::OneCall, ..hello(limits) });
    encoded
}
