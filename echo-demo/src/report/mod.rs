//! What the program says, in words or in JSON.

mod json;
mod printer;
mod table;
mod text;

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use p2prpc::{ErrorKind, Multiaddr, PeerId};

use crate::tally::Summary;

pub(crate) use printer::{Printer, Reporter};

/// The node that says something.
#[derive(Clone, Debug)]
pub(crate) struct Speaker {
    pub(crate) id: PeerId,
    /// How people tell it from the others of this process.
    pub(crate) label: Option<Arc<str>>,
}

impl Display for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.label {
            Some(label) => f.write_str(label),
            None => Display::fmt(&self.id, f),
        }
    }
}

/// Something that happened at a node.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// It started, and can be reached at these addresses.
    Started {
        addresses: Vec<Multiaddr>,
    },
    /// It can be reached at this address too.
    Listening {
        address: Multiaddr,
    },
    PeerJoined {
        peer: PeerId,
    },
    PeerLeft {
        peer: PeerId,
    },
    Echo {
        peer: PeerId,
        round: u64,
        message: String,
        took: Duration,
    },
    Error {
        peer: PeerId,
        round: u64,
        error: String,
        kind: ErrorKind,
        took: Duration,
    },
    Summary(Summary),
}

/// What happened to whom, and when.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    time: SystemTime,
    node: Speaker,
    event: Event,
}

impl Entry {
    /// Something that happened now.
    pub(crate) fn new(node: Speaker, event: Event) -> Self {
        Entry { time: SystemTime::now(), node, event }
    }
}
