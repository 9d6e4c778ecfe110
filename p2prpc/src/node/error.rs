//! Why a node didn't start, and why it didn't connect.

use std::io;

use libp2p::{Multiaddr, PeerId};

use super::identity::IdentityError;
use super::net::address::InvalidAddress;
use crate::behaviour::InvalidProtocol;
use crate::codec::CodecId;
use crate::error::{ErrorKind, RpcError};
use crate::server::ServeError;

/// Why [`NodeBuilder::start`](crate::NodeBuilder::start) failed. `Display` is one sentence that names the value that was wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address, to listen on or of a bootstrap peer, can't be used.
    #[error(transparent)]
    InvalidAddress(#[from] InvalidAddress),
    /// The identity of a configuration can't be read or made.
    #[error(transparent)]
    InvalidIdentity(#[from] IdentityError),
    /// The name given to [`protocol`](crate::NodeBuilder::protocol) or [`kad_protocol`](crate::NodeBuilder::kad_protocol) can't be one.
    #[error(transparent)]
    InvalidProtocol(#[from] InvalidProtocol),
    /// A rendezvous without a character.
    #[error("the rendezvous is empty: give the peers that should find each other a common text")]
    EmptyRendezvous,
    /// The codec given to [`codec`](crate::NodeBuilder::codec) isn't compiled in.
    #[error("{codec} is not compiled in: enable its feature of p2prpc, or choose another codec")]
    UnsupportedCodec {
        /// The codec.
        codec: CodecId,
    },
    /// A bootstrap address that doesn't say whose it is.
    #[error("bootstrap address `{address}`: it must end with the peer's id, /p2p/12D3Koo..")]
    BootstrapWithoutPeerId {
        /// The address.
        address: Multiaddr,
    },
    /// Two services of one name.
    #[error(transparent)]
    DuplicateService(#[from] ServeError),
    /// [`private`](crate::NodeBuilder::private) without [`authorize`](crate::NodeBuilder::authorize).
    #[error("a private node tells strangers nothing, and no rule says who is none: give it authorize(..)")]
    PrivateWithoutRule,
    /// An address could not be listened on.
    #[error("can't listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why not.
        reason: String,
    },
    /// The network could not be set up: no random numbers, no file descriptors, no multicast for mDNS.
    #[error("the network could not be set up: {0}")]
    Network(#[source] io::Error),
    /// `start` was called outside a Tokio runtime.
    #[error("a node needs a Tokio runtime: call start() in a program with #[tokio::main]")]
    NoRuntime,
    /// `start` was called in a Tokio runtime without I/O or without time.
    #[error("a node needs a Tokio runtime with I/O and time: build it with enable_all()")]
    NoDrivers,
}

/// Why [`Node::connect`](crate::Node::connect) failed. `Display` is one sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address can't be used.
    #[error(transparent)]
    InvalidAddress(#[from] InvalidAddress),
    /// Nobody answered there, or not as a libp2p node does.
    #[error("no connection to {address}: {reason}")]
    Unreachable {
        /// The address.
        address: Multiaddr,
        /// What was tried and how it failed.
        reason: String,
    },
    /// Somebody else answered than the address names.
    #[error("{address} is {found}'s address, not {expected}'s")]
    WrongPeer {
        /// The address.
        address: Multiaddr,
        /// Whom the address names.
        expected: PeerId,
        /// Who answered.
        found: PeerId,
    },
    /// The node itself answered.
    #[error("{address} is this node's own address")]
    Own {
        /// The address.
        address: Multiaddr,
    },
    /// The connection is not allowed: the peer is blocked or not admitted, or a limit on connections is reached. Or the peer
    /// itself allows none, and closed it at once: it has blocked this node, doesn't admit it or has no room.
    #[error("no connection to {address} is allowed: {reason}")]
    Refused {
        /// The address.
        address: Multiaddr,
        /// What forbids it.
        reason: String,
    },
    /// The node has been shut down or dropped.
    #[error("the node is closed")]
    Closed,
    /// The node has not been started yet: a [`Handle`](crate::Handle) of one to come was asked.
    #[error("the node has not been started")]
    NotStarted,
    /// The handle is that of a bare [`Behaviour`](crate::Behaviour), whose Swarm connects.
    #[error("this is the handle of a Behaviour, not of a node: its Swarm connects")]
    NoNode,
}

impl ConnectError {
    /// Why a handle leads to no node.
    pub(super) fn from_handle(error: RpcError) -> Self {
        match error.kind() {
            ErrorKind::NotStarted => ConnectError::NotStarted,
            ErrorKind::NotSupported => ConnectError::NoNode,
            _ => ConnectError::Closed,
        }
    }
}
