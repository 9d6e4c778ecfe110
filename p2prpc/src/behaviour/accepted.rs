//! The call streams that one peer has opened.

use std::sync::Arc;

use crate::peer::{Connection, ServerStream};
use crate::wire::GoAwayReason;

/// Call streams of one peer that take calls; one more makes another leave.
pub(crate) const MAX_SERVED: usize = 2;

#[derive(Default)]
pub(super) struct Accepted {
    /// They take calls, the oldest first.
    taking: Vec<OnConnection>,
    /// They were told to go away, one on each connection at most.
    leaving: Vec<OnConnection>,
}

struct OnConnection {
    connection: Arc<Connection>,
    stream: Arc<ServerStream>,
}

impl Accepted {
    /// Make room for one more. False if the peer has too many.
    ///
    /// One that comes back again and again, without having closed the connections of its former lives, is not held to their streams.
    pub(super) fn make_room(&mut self) -> bool {
        self.taking.retain(|on| !on.stream.is_closed());
        self.leaving.retain(|on| !on.stream.is_closed());
        if self.taking.len() < MAX_SERVED {
            return true;
        }
        let is_leaving =
            |on: &OnConnection| self.leaving.iter().any(|other| Arc::ptr_eq(&other.connection, &on.connection));
        let movable = || self.taking.iter().enumerate().filter(|(_, on)| !is_leaving(on));
        let suspected = movable().find(|(_, on)| on.connection.is_suspected());
        let Some((at, _)) = suspected.or_else(|| movable().next()) else { return false };
        let on = self.taking.remove(at);
        on.stream.go_away(GoAwayReason::Replaced);
        self.leaving.push(on);
        true
    }

    pub(super) fn push(&mut self, connection: Arc<Connection>, stream: Arc<ServerStream>) {
        self.taking.push(OnConnection { connection, stream });
    }

    /// Those that take calls.
    #[cfg(feature = "node")]
    pub(super) fn taking(&self) -> impl Iterator<Item = &Arc<ServerStream>> {
        self.taking.iter().map(|on| &on.stream)
    }

    /// All.
    pub(super) fn streams(&self) -> impl Iterator<Item = &Arc<ServerStream>> {
        self.taking.iter().chain(&self.leaving).map(|on| &on.stream)
    }
}
