//! What a service is, once its type is erased: names, and a way to call each method.

mod incoming;
mod layer;
mod streaming;
mod values;

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::CallInfo;
use crate::codec::MethodNames;
use crate::error::Failure;
use crate::fingerprint::{Fingerprint, fnv1a};

pub use incoming::{HandlerFuture, Incoming, Outcome, run, run_fallible, run_streaming};
pub(crate) use incoming::{NO_ROOM, Reply};
#[cfg(test)]
pub(crate) use incoming::{PROBE, fallible, infallible};
pub(crate) use layer::Layers;
pub(crate) use streaming::{Inbound, KEPT, NOT_STREAMED, Outbound, STREAM_WINDOW, StreamParts};
pub use streaming::{ItemSink, Streaming};
pub use values::{Argument, Here, Is, Store, Taken, Takes, Value, is_large};
pub(crate) use values::{Received, Sent};

/// One method of a service, as its client and its server know it. [`p2p_service`](crate::p2p_service) writes one marker type for each method.
///
/// ```
/// use p2prpc::prelude::*;
///
/// /// Works for each method of every service.
/// fn logged<M: Method>(call: Call<M>) -> Call<M> {
///     println!("calling {}", M::NAME);
///     call
/// }
/// ```
pub trait Method: Send + Sync + 'static {
    /// The name on the wire, `EchoService.Echo`.
    const NAME: &'static str;
    /// True if calling twice does no harm, `#[rpc(idempotent)]`: such a call is made again after a lost connection, within its deadline.
    const IDEMPOTENT: bool;
    /// How long its calls may take unless the client or the call says otherwise, `#[rpc(timeout = "60s")]`; `None` for what holds on the node.
    const TIMEOUT: Option<Duration> = None;
    /// The longest encoded arguments, in bytes, `#[rpc(max_request = "64 KiB")]`; `None` for what holds on the node.
    const MAX_REQUEST: Option<usize> = None;
    /// An older name of the method, as `NAME` and without that of the service, `#[rpc(or = "old_name")]`: a peer that doesn't have the one is called by the other.
    const OR: Option<(&'static str, &'static str)> = None;
    /// The names of the service and the method in Go, if the service has one there: `#[p2p_service(gorpc = "EchoRPCAPI")]`.
    const GORPC: Option<(&'static str, &'static str)> = None;
    /// True if a struct of a Go peer whose fields seem to have other names there is an error: `#[p2p_service(gorpc_strict)]`.
    const GORPC_STRICT: bool = false;
    /// What the names and types of the arguments and the return type look like, as they are written; 0 for nothing to be compared.
    #[doc(hidden)]
    const FINGERPRINT: u64 = 0;
    /// The bytes that the arguments take themselves, without what they point to.
    #[doc(hidden)]
    const ARGS_SIZE: usize = 0;
    /// True if the method asks for the [`Context`](crate::Context): only then it can send metadata with its answer.
    #[doc(hidden)]
    const TAKES_CONTEXT: bool = false;
    /// The arguments, as a struct with named fields; what is streamed to the method is none of them.
    type Args: Serialize + DeserializeOwned + Send + 'static;
    /// What a call gives when it goes well; of a method that gives a stream, an item of it.
    type Output: Value;
    /// What a call gives when it doesn't: [`RpcError`](crate::RpcError), or [`CallError<E>`](crate::CallError) if the method returns a `Result<_, E>`.
    type Error: Failure;
}

/// What a service tells of one of its methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodDescriptor {
    /// The method's name on the wire, without that of the service: `Echo`.
    pub name: &'static str,
    /// Both names, as a request carries them: `EchoService.Echo`.
    pub full_name: &'static str,
    /// The documentation comment of the method.
    pub docs: &'static str,
    /// `#[rpc(spawn)]`: run as a task of its own from the first poll on.
    pub spawn: bool,
    /// `#[rpc(max_in_flight = 3)]`: so many calls of it one peer may have in flight at a node that serves it.
    pub max_in_flight: Option<u32>,
    /// `#[rpc(rate = "10/s")]`: so many calls of it one peer may make in so long at a node that serves it.
    pub rate: Option<(u32, Duration)>,
    /// `#[rpc(max_request = "64 KiB")]`: the longest encoded arguments, in bytes.
    pub max_request: Option<usize>,
    /// `#[rpc(max_reply = "64 KiB")]`: the longest encoded return value, error or item, in bytes.
    pub max_reply: Option<usize>,
    /// It takes or gives a stream.
    pub streaming: bool,
    pub(crate) fingerprint: u64,
}

/// What a service tells of one of its methods. Generated code calls it.
pub const fn method(
    name: &'static str,
    full_name: &'static str,
    docs: &'static str,
    spawn: bool,
    max_in_flight: Option<u32>,
    fingerprint: u64,
) -> MethodDescriptor {
    MethodDescriptor {
        name,
        full_name,
        docs,
        spawn,
        max_in_flight,
        rate: None,
        max_request: None,
        max_reply: None,
        streaming: false,
        fingerprint,
    }
}

impl MethodDescriptor {
    /// With so many calls of a peer in so long.
    #[doc(hidden)]
    pub const fn rate(mut self, calls: u32, time: Duration) -> Self {
        self.rate = Some((calls, time));
        self
    }

    /// With arguments of so many bytes at the most.
    #[doc(hidden)]
    pub const fn max_request(mut self, bytes: usize) -> Self {
        self.max_request = Some(bytes);
        self
    }

    /// With answers of so many bytes at the most.
    #[doc(hidden)]
    pub const fn max_reply(mut self, bytes: usize) -> Self {
        self.max_reply = Some(bytes);
        self
    }

    /// The same of a method that takes or gives a stream. Generated code calls it.
    #[doc(hidden)]
    pub const fn streaming(mut self) -> Self {
        self.streaming = true;
        self
    }
}

impl From<&MethodDescriptor> for Fingerprint {
    fn from(method: &MethodDescriptor) -> Self {
        (fnv1a(method.full_name), method.fingerprint)
    }
}

/// A method by its older name.
struct Older<M>(PhantomData<M>);

impl<M: Method> Older<M> {
    const NAMES: Option<MethodNames> = match M::OR {
        None => None,
        Some((full, name)) => Some(MethodNames {
            full,
            gorpc: match M::GORPC {
                Some((service, _)) => Some((service, name)),
                None => None,
            },
            gorpc_strict: M::GORPC_STRICT,
            key: fnv1a(full),
            fingerprint: M::FINGERPRINT,
        }),
    };
}

impl MethodNames {
    /// The same method by its older name.
    pub(crate) const fn older_of<M: Method>() -> Option<&'static Self> {
        const { Older::<M>::NAMES.as_ref() }
    }

    pub(crate) const fn of<M: Method>() -> &'static Self {
        const {
            &MethodNames {
                full: M::NAME,
                gorpc: M::GORPC,
                gorpc_strict: M::GORPC_STRICT,
                key: fnv1a(M::NAME),
                fingerprint: M::FINGERPRINT,
            }
        }
    }
}

/// A service of any type, ready to be served: what `serve` takes. It comes from a generated server, `EchoServiceServer::new(Echo).into()`.
#[derive(Clone)]
pub struct Service {
    name: &'static str,
    gorpc: Option<&'static str>,
    docs: &'static str,
    methods: Arc<[MethodDescriptor]>,
    handlers: Arc<dyn Handlers>,
    layers: Layers,
}

impl Service {
    /// The name on the wire, `EchoService`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The name that Go peers know it by, `EchoRPCAPI`, if it has one: `#[p2p_service(gorpc = "EchoRPCAPI")]`.
    pub fn gorpc_name(&self) -> Option<&'static str> {
        self.gorpc
    }

    /// The documentation comment of the trait.
    pub fn docs(&self) -> &'static str {
        self.docs
    }

    /// The methods, in the order of the trait.
    pub fn methods(&self) -> &[MethodDescriptor] {
        &self.methods
    }

    /// Let only those calls through for which `rule` says `true`; to all others the service and its methods don't exist
    /// ([`ErrorKind::NotServed`](crate::ErrorKind::NotServed)). A rule that was set before must agree too. A rule that panics denies.
    ///
    /// It runs for each call, local ones too, before limits are counted and arguments decoded: keep it quick.
    pub fn authorize(mut self, rule: impl Fn(&CallInfo) -> bool + Send + Sync + 'static) -> Self {
        self.layers.authorize(rule);
        self
    }

    /// With these layers before its own.
    #[cfg(feature = "node")]
    pub(crate) fn behind(mut self, mut layers: Layers) -> Self {
        layers.append(self.layers);
        self.layers = layers;
        self
    }

    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }

    pub(crate) fn call(&self, method: usize, incoming: Incoming<'_>) -> HandlerFuture {
        self.handlers.call(method, incoming)
    }
}

#[cfg(test)]
impl Service {
    /// One without methods.
    pub(crate) fn of_test(name: &'static str) -> Self {
        ServiceBuilder::new(name, "", Arc::new(())).build()
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name).field("methods", &self.methods).finish_non_exhaustive()
    }
}

trait Handlers: Any + Send + Sync {
    fn call(&self, method: usize, incoming: Incoming<'_>) -> HandlerFuture;
}

/// Runs one method of `T`.
pub type Handler<T> = fn(&Arc<T>, Incoming<'_>) -> HandlerFuture;

struct Table<T> {
    service: Arc<T>,
    handlers: Box<[Handler<T>]>,
}

impl<T: Send + Sync + 'static> Handlers for Table<T> {
    fn call(&self, method: usize, incoming: Incoming<'_>) -> HandlerFuture {
        match self.handlers.get(method) {
            Some(handler) => handler(&self.service, incoming),
            None => incoming.not_served(),
        }
    }
}

/// Puts a [`Service`] together. Generated code calls it.
pub struct ServiceBuilder<T> {
    name: &'static str,
    gorpc: Option<&'static str>,
    docs: &'static str,
    service: Arc<T>,
    methods: Vec<MethodDescriptor>,
    handlers: Vec<Handler<T>>,
}

impl<T: Send + Sync + 'static> ServiceBuilder<T> {
    /// A service without methods yet.
    pub fn new(name: &'static str, docs: &'static str, service: Arc<T>) -> Self {
        ServiceBuilder { name, gorpc: None, docs, service, methods: Vec::new(), handlers: Vec::new() }
    }

    /// Serve it to Go peers too, by this name.
    #[cfg(feature = "gorpc")]
    pub fn gorpc(mut self, name: &'static str) -> Self {
        self.gorpc = Some(name);
        self
    }

    /// Add a method.
    pub fn method(mut self, descriptor: MethodDescriptor, handler: Handler<T>) -> Self {
        self.methods.push(descriptor);
        self.handlers.push(handler);
        self
    }

    /// The service.
    pub fn build(self) -> Service {
        Service {
            name: self.name,
            gorpc: self.gorpc,
            docs: self.docs,
            methods: self.methods.into(),
            handlers: Arc::new(Table { service: self.service, handlers: self.handlers.into() }),
            layers: Layers::default(),
        }
    }
}

impl<T> fmt::Debug for ServiceBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}
