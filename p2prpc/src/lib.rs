//! Typed peer-to-peer RPC over [libp2p](https://docs.rs/libp2p).
//!
//! Annotate a trait with [`p2p_service`]: that gives a server and a typed client. Peers find each other by a
//! rendezvous string in a Kademlia DHT, and `client.echo_all(msg)` asks every one of them and gives a `Result` per peer.
//!
//! [`docs`] has pages on errors, limits, connections, on how a service changes, and on the wire.

#[cfg(test)]
#[macro_use]
mod fuzzing;

pub mod behaviour;
pub mod codec;
pub mod docs;
#[cfg(feature = "unstable-wire")]
pub mod wire;
#[cfg(not(feature = "unstable-wire"))]
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "some of it is for those alone who write a peer of their own"
)]
mod wire;

mod call;
mod client;
mod clock;
#[cfg(feature = "serde")]
mod durations;
mod error;
#[cfg(feature = "gorpc")]
pub mod gorpc;
mod limits;
mod members;
mod metadata;
mod peer;
pub use client::many as multicall;
#[cfg(feature = "node")]
mod node;
mod panics;
mod printable;
mod runtime;
mod scratch;
mod server;
mod service;
mod stack;

pub use bytes;
pub use libp2p;
pub use libp2p::{Multiaddr, PeerId};
#[doc = include_str!("../docs/p2p_service.md")]
#[doc(inline)]
pub use p2prpc_macros::p2p_service;

pub use behaviour::Behaviour;
pub use call::Handle;
pub use call::{CallInfo, Context, Dialect};
pub use client::many::{MultiCall, Replies};
pub use client::{Call, CallWithMetadata};
pub use codec::CodecId;
pub use error::{CallError, Delivery, ErrorKind, Failure, RpcError};
pub use limits::Limits;
pub use members::{Member, Snapshot};
pub use metadata::{InvalidMetadata, Metadata};
#[cfg(feature = "serde")]
pub use node::NodeConfig;
#[cfg(feature = "node")]
pub use node::{
    Acquaintance, ConnectError, ConnectionInfo, Diagnosis, Direction, Events, Identity, IdentityError, IntoAddress,
    InvalidAddress, InvalidIdentity, Node, NodeBuilder, NodeEvent, Reachability, Reached, Relation, StartError,
    Transport, rendezvous_key,
};
#[cfg(feature = "pnet")]
pub use node::{PreSharedKey, PreSharedKeyError};
pub use printable::printable;
pub use server::ServeError;
pub use service::{Method, MethodDescriptor, Service};

/// What a file that declares, serves or calls services needs.
pub mod prelude {
    pub use crate::{
        Call, CallError, CallInfo, CodecId, Context, Delivery, ErrorKind, Failure, Handle, Method, MultiCall,
        Multiaddr, PeerId, Replies, RpcError, Service, p2p_service,
    };
    #[cfg(feature = "node")]
    pub use crate::{Identity, Node, NodeEvent};
}

/// For generated code only: nothing in here is covered by semantic versioning.
#[doc(hidden)]
pub mod __private {
    pub use crate::client::{AtAPeer, Client};
    pub use crate::error::{OwnError, Wraps};
    pub use crate::service::{
        Argument, Handler, HandlerFuture, Here, Incoming, Is, ServiceBuilder, Store, Taken, Takes, Value, is_large,
        method, run, run_fallible,
    };
    pub use serde;

    /// How a service is given: by what implements its trait.
    #[derive(Debug)]
    pub struct ByTrait;

    /// How a service is given: by a server of it.
    #[derive(Debug)]
    pub struct ByServer;

    /// The two types of a `Result`, whatever alias named it.
    pub trait ResultTypes: sealed::Sealed {
        /// What it gives when it goes well.
        type Ok;
        /// What it gives when it doesn't.
        type Err;
    }

    impl<T, E> ResultTypes for Result<T, E> {
        type Ok = T;
        type Err = E;
    }

    mod sealed {
        pub trait Sealed {}
        impl<T, E> Sealed for Result<T, E> {}
    }
}
