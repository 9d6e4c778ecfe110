//! What `#[p2p_service]` writes compiles where nothing is in scope, where names mean something else, and where lints are
//! errors.

#![no_implicit_prelude]
#![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub, unused, unused_qualifications)]
#![deny(clippy::all, clippy::pedantic)]

use ::p2prpc::{Context, p2p_service};
use ::std::prelude::rust_2024::test;
use ::std::string::String;

/// Names that the expansion uses too, with meanings of their own.
pub mod shadows {
    /// Not the one of `core`.
    #[derive(Debug)]
    pub struct Option;
    /// Not the one of `core`.
    #[derive(Debug)]
    pub struct Result;
    /// Not the one of `std`.
    #[derive(Debug)]
    pub struct Vec;
    /// Not the library's.
    #[derive(Debug)]
    pub struct Call;
    /// Not the library's.
    #[derive(Debug)]
    pub struct RpcError;
    /// Not the one of `core`.
    pub trait Future {}
    /// Not the one of `core`.
    pub trait Send {}
    /// Not the one of `core`.
    pub trait Sync {}
    /// Not the one of `core`.
    pub trait Clone {}
    /// Not the one of `core`.
    pub trait From {}
    /// Not the one of `std`.
    #[derive(Debug)]
    pub struct Arc;
}

#[allow(unused_imports)]
use self::shadows::{Arc, Call, Clone, From, Future, Option, Result, RpcError, Send, Sync, Vec};

/// A `Result` of ours.
pub type Outcome<T> = ::std::result::Result<T, String>;

/// An alias that is named as the real one.
pub mod alias {
    /// With the error filled in.
    pub type Result<T> = ::std::result::Result<T, ::std::string::String>;
}

/// Arguments that are named as the expansion's own variables.
#[p2p_service]
pub trait Names {
    /// All of them.
    #[allow(clippy::too_many_arguments)]
    async fn variables(&self, service: u8, args: u8, cx: u8, self_: u8, incoming: u8, r#type: u8, builder: u8) -> u8;
    /// With the context among them.
    async fn context(&self, args: u8, cx: &Context, peers: u8, client: u8) -> u8;
    /// With a context that isn't used.
    async fn no_context(&self, _: &Context, rule: u8) -> u8;
    /// Many peers.
    async fn peers(&self, peers: u8, peer: u8, service: u8, server: u8) -> u8;
    /// Fails.
    async fn fallible(&self, error: u8) -> alias::Result<u8>;
    /// With a body.
    async fn default(&self, mut service: u8, args: u8) -> u8 {
        service += args;
        service
    }
    /// With nothing.
    async fn nothing(&self);
}

#[derive(Debug)]
struct Numbers;

impl Names for Numbers {
    async fn variables(&self, service: u8, args: u8, cx: u8, self_: u8, incoming: u8, r#type: u8, builder: u8) -> u8 {
        service + args + cx + self_ + incoming + r#type + builder
    }
    async fn context(&self, args: u8, _: &Context, peers: u8, client: u8) -> u8 {
        args + peers + client
    }
    async fn no_context(&self, _: &Context, rule: u8) -> u8 {
        rule
    }
    async fn peers(&self, peers: u8, peer: u8, service: u8, server: u8) -> u8 {
        peers + peer + service + server
    }
    async fn fallible(&self, error: u8) -> alias::Result<u8> {
        ::std::result::Result::Ok(error)
    }
    async fn nothing(&self) {}
}

/// Nothing of what is generated for it is used.
#[p2p_service]
trait Private {
    async fn unused(&self, of: Hidden) -> Hidden;
}

#[derive(Debug, ::p2prpc::__private::serde::Serialize, ::p2prpc::__private::serde::Deserialize)]
#[serde(crate = "::p2prpc::__private::serde")]
struct Hidden;

#[test]
fn shadowed_names_keep_their_meaning() {
    ::tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = NamesClient::local(Numbers);
        let stub = client.peer(client.local_peer_id().unwrap());
        ::std::assert_eq!(stub.variables(1, 2, 3, 4, 5, 6, 7).await.unwrap(), 28);
        ::std::assert_eq!(stub.context(1, 2, 3).await.unwrap(), 6);
        ::std::assert_eq!(stub.no_context(7).await.unwrap(), 7);
        ::std::assert_eq!(stub.peers(1, 2, 3, 4).await.unwrap(), 10);
        ::std::assert_eq!(stub.fallible(9).await.unwrap(), 9);
        ::std::assert_eq!(stub.default(2, 3).await.unwrap(), 5);
        stub.nothing().await.unwrap();
    });
}
