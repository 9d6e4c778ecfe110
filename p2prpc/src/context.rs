//! What a handler and an authorisation rule know of a call.

use std::time::{Duration, Instant};

use libp2p::PeerId;

use crate::clock::now;
use crate::handle::Handle;
use crate::metadata::Metadata;

/// What a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// p2prpc's own protocol.
    Native,
    /// That of Go peers on go-libp2p-gorpc: feature `gorpc`.
    Gorpc,
}

/// Who calls what: given to `authorize` before the arguments are decoded and before any limit is counted.
#[derive(Clone, Debug)]
pub struct CallInfo {
    peer: PeerId,
    service: &'static str,
    method: &'static str,
    metadata: Metadata,
}

impl CallInfo {
    pub(crate) fn new(peer: PeerId, service: &'static str, method: &'static str, metadata: Metadata) -> Self {
        CallInfo { peer, service, method, metadata }
    }

    /// The caller. Its identity is proven by the connection's handshake (Noise or TLS).
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The service's name on the wire, `EchoService`.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// The method's name on the wire, `Echo`.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// What the caller sent along. It is the caller's word, unlike [`peer`](CallInfo::peer).
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// A call, as its handler sees it. A method gets it by asking for a `cx: &Context`; it isn't sent and isn't in the client.
///
/// ```
/// use p2prpc::prelude::*;
///
/// #[p2p_service]
/// trait WhoAmI {
///     /// The caller's own peer id, as proven by the handshake.
///     async fn who(&self, cx: &Context) -> String;
/// }
///
/// struct Mirror;
/// impl WhoAmI for Mirror {
///     async fn who(&self, cx: &Context) -> String {
///         cx.peer().to_string()
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Context {
    info: CallInfo,
    deadline: Instant,
    handle: Handle,
    local: bool,
    dialect: Dialect,
}

impl Context {
    pub(crate) fn new(info: CallInfo, deadline: Instant, handle: Handle, local: bool, dialect: Dialect) -> Self {
        Context { info, deadline, handle, local, dialect }
    }

    /// Who calls what.
    pub fn info(&self) -> &CallInfo {
        &self.info
    }

    /// The caller. Its identity is proven by the connection's handshake (Noise or TLS); for a node's call to itself it is the node's own.
    pub fn peer(&self) -> PeerId {
        self.info.peer
    }

    /// What the caller sent along.
    pub fn metadata(&self) -> &Metadata {
        &self.info.metadata
    }

    /// When the call ends whether it has answered or not: the handler is dropped then.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The time left until [`deadline`](Context::deadline).
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(now())
    }

    /// True if the call came from this node itself and not over the network.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// How the caller speaks. A handler needs it only for what one of them hasn't: a Go peer sends neither metadata nor a deadline.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The way back into the network, for calls of the handler's own. They inherit this call's deadline: theirs is never later.
    pub fn handle(&self) -> Handle {
        self.handle.clone().with_deadline(self.deadline)
    }
}
