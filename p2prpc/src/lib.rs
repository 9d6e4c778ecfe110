//! Typed peer-to-peer RPC over [libp2p](https://docs.rs/libp2p).
//!
//! Annotate a trait with [`p2p_service`]: that gives a server and a typed client. Peers find each other by a
//! rendezvous string in a Kademlia DHT, and `client.echo_all(msg)` asks every one of them and gives a `Result` per peer.
//!
//! ```
//! use p2prpc::prelude::*;
//!
//! #[p2p_service]
//! trait Greeter {
//!     async fn greet(&self, name: String) -> String;
//! }
//!
//! struct English;
//!
//! impl Greeter for English {
//!     async fn greet(&self, name: String) -> String {
//!         format!("Hello, {name}!")
//!     }
//! }
//!
//! # #[cfg(feature = "node")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Node::builder().listen("/ip4/127.0.0.1/tcp/0").rendezvous("my-app").serve(GreeterServer::new(English)).start().await?;
//! let address = host.addresses()[0].to_string();
//! let guest = Node::builder().rendezvous("my-app").bootstrap([address]).start().await?;
//!
//! let client = GreeterClient::new(&guest);
//! let peers = client.wait_for(1).await?;
//! assert_eq!(client.peer(peers[0]).greet("Ada".into()).await?, "Hello, Ada!");
//! for (peer, greeting) in client.greet_all("all".into()).await {
//!     println!("{peer}: {}", greeting?);
//! }
//! # Ok(()) }
//! # #[cfg(not(feature = "node"))]
//! # fn main() {}
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! | --- | --- |
//! | what the attribute takes and gives | [`p2p_service`] |
//! | a node with all that belongs to it | `Node`, `NodeBuilder`, `NodeEvent`, `Identity` (feature `node`) |
//! | calls over a Swarm of your own | [`Behaviour`], [`behaviour::Config`] |
//! | one call, a call to many, and to any one of many | [`Call`], [`MultiCall`] with its [`Replies`], [`AnyCall`] |
//! | streams: from a peer, to one, both ways, of many | [`StreamCall`], [`UploadCall`], [`DuplexCall`], [`MultiStreamCall`], and [`Streaming`] for who serves them |
//! | how calls end | [`RpcError`], [`ErrorKind`], [`Delivery`], [`CallError`] |
//! | what a handler knows of its caller | [`Context`], [`CallInfo`], [`Metadata`] |
//! | what is bounded | [`Limits`], [`docs::limits`] |
//! | how values are written | [`codec`], [`docs::changing`] |
//! | everything else | [`docs`]: errors, connections, the architecture, membership, the wire |
//!
//! # Features
//!
#![doc = document_features::document_features!()]
//!
//! A major version of libp2p is one of p2prpc: its types are in this interface.

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

mod accounts;
mod blocking;
mod call;
mod client;
mod clock;
#[cfg(feature = "serde")]
mod durations;
mod error;
mod fingerprint;
mod framing;
#[cfg(feature = "gorpc")]
pub mod gorpc;
mod limits;
mod members;
#[cfg(feature = "node")]
mod membership;
mod metadata;
#[cfg(feature = "node")]
mod networks;
mod peer;
pub use client::many as multicall;
#[cfg(feature = "node")]
mod node;
mod panics;
mod prefix;
mod printable;
mod runtime;
mod scratch;
mod server;
mod service;
mod stack;
mod sync;

pub use bytes;
pub use libp2p;
pub use libp2p::{Multiaddr, PeerId};
#[doc = include_str!("../docs/p2p_service.md")]
#[doc(inline)]
pub use p2prpc_macros::p2p_service;

pub use behaviour::Behaviour;
pub use call::Handle;
pub use call::{CallInfo, Context, Dialect};
pub use client::many::{AnyCall, MultiCall, Replies};
pub use client::{Call, CallWithMetadata, DuplexCall, MultiStreamCall, StreamCall, StreamSender, UploadCall};
pub use codec::CodecId;
pub use error::{CallError, Delivery, ErrorKind, Failure, RpcError};
#[doc(no_inline)]
pub use futures::stream::{Stream, StreamExt};
pub use limits::Limits;
pub use members::{Member, Snapshot};
#[cfg(feature = "node")]
pub use membership::{Acquaintance, Diagnosis, Reached, Relation, rendezvous_key};
pub use metadata::{InvalidMetadata, Metadata};
#[cfg(feature = "serde")]
pub use node::NodeConfig;
#[cfg(feature = "node")]
pub use node::{
    ConnectError, ConnectionInfo, Direction, Events, Identity, IdentityError, IntoAddress, InvalidAddress,
    InvalidIdentity, Node, NodeBuilder, NodeEvent, Reachability, StartError, Transport,
};
#[cfg(feature = "pnet")]
pub use node::{PreSharedKey, PreSharedKeyError};
pub use printable::printable;
pub use server::ServeError;
pub use service::{Method, MethodDescriptor, Service, Streaming};

/// What a file that declares, serves or calls services needs.
pub mod prelude {
    pub use crate::{
        Call, CallError, CallInfo, CodecId, Context, Delivery, ErrorKind, Failure, Handle, Method, MultiCall,
        Multiaddr, PeerId, Replies, RpcError, Service, Streaming, p2p_service,
    };
    #[cfg(feature = "node")]
    pub use crate::{Identity, Node, NodeEvent};
    #[doc(no_inline)]
    pub use futures::stream::{Stream, StreamExt};
}

/// For generated code only: nothing in here is covered by semantic versioning.
#[doc(hidden)]
pub mod __private {
    pub use crate::client::{AtAPeer, Client, TakesItems};
    pub use crate::error::{OwnError, Wraps};
    pub use crate::fingerprint::fnv1a;
    pub use crate::service::{
        Argument, Handler, HandlerFuture, Here, Incoming, Is, ItemSink, Outcome, ServiceBuilder, Store, Taken, Takes,
        Value, is_large, method, run, run_fallible, run_streaming,
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
