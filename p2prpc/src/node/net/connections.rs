//! What a program can see of its node's connections.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::admission::Direction;
use crate::behaviour::Core;
use crate::clock::now;
use crate::peer::Connection;

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// TCP, with Noise and Yamux.
    Tcp,
    /// QUIC.
    Quic,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "TCP",
            Transport::Quic => "QUIC",
        })
    }
}

/// One connection to a peer, at the moment that [`Node::connections`](crate::Node::connections) was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The other end. Of an inbound connection this is not where the peer listens.
    pub address: Multiaddr,
    /// What carries it.
    pub transport: Transport,
    /// Which side opened it.
    pub direction: Direction,
    /// How long it has been there.
    pub age: Duration,
    /// How long ago the last byte came, on a call or as the answer to a ping. A connection is asked after five seconds of silence.
    pub silent_for: Duration,
    /// How long a ping takes there and back, smoothed; `None` before the first was answered.
    pub round_trip: Option<Duration>,
    /// It was asked for a sign of life and has given none: calls go over another if there is one.
    pub suspected: bool,
    /// New calls to the peer go out on it.
    pub carries_calls: bool,
}

pub(in crate::node) type Connections = BTreeMap<PeerId, Vec<ConnectionInfo>>;

pub(in crate::node) fn connections(core: &Core) -> Connections {
    let mut all = Connections::new();
    for session in core.sessions() {
        let infos: Vec<_> =
            session.connections().iter().map(|connection| info(connection, session.calls_on(connection))).collect();
        if !infos.is_empty() {
            all.insert(session.peer(), infos);
        }
    }
    all
}

fn info(connection: &Connection, carries_calls: bool) -> ConnectionInfo {
    let now = now();
    let is_udp = connection.remote().iter().any(|part| matches!(part, Protocol::Udp(_)));
    ConnectionInfo {
        address: connection.remote().clone(),
        transport: if is_udp { Transport::Quic } else { Transport::Tcp },
        direction: if connection.is_outbound() { Direction::Outbound } else { Direction::Inbound },
        age: now.saturating_duration_since(connection.established()),
        silent_for: now.saturating_duration_since(connection.heard()),
        round_trip: connection.rtt(),
        suspected: connection.is_suspected(),
        carries_calls,
    }
}
