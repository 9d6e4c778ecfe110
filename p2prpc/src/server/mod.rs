//! Calls on their way in: which method it is, whether the caller may, whether there is room, and the running of it.

mod guarded;
mod large;
mod local;
mod quota;
mod refusal;
mod refused;
mod router;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use parking_lot::RwLock;

use crate::accounts::{Accounts, CallPermit, PeerAccount};
use crate::blocking::BlockingPlaces;
use crate::call::Handle;
use crate::call::{CallInfo, Context};
use crate::codec::Format;
use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::service::{Incoming, Layers, Service, StreamParts};

pub(crate) use guarded::Guarded;
pub(crate) use large::LARGE_BODY;
pub(crate) use local::{LocalChannel, LocalNetwork, delivery_of};
pub(crate) use refusal::Refusal;
pub(crate) use router::{MethodEntry, Router};
pub(crate) use stream::{MAX_STREAMS, serve_streams};

use large::Large;
use quota::MethodPermit;
use refused::Refused;

/// Services whose names begin so are p2prpc's own: the rule of the node isn't asked for them, and nobody else may serve one.
pub(crate) const INTERNAL_PREFIX: &str = "p2prpc-";

/// A handler whose first poll took longer is run as a task of its own until it has been quick for a while.
pub(crate) const SLOW_POLL: Duration = Duration::from_micros(500);

/// What can't be added to the clock becomes this.
const LONGEST_DEADLINE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why a service can't be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A service of this name is served already.
    #[error("a service named {0} is served already: give one of them another name with #[p2p_service(name = \"..\")]")]
    Duplicate(&'static str),
    /// A service of this name in Go is served already.
    #[error(
        "a service that Go peers know as {0} is served already: give one of them another name with #[p2p_service(gorpc = \"..\")]"
    )]
    DuplicateGorpc(&'static str),
    /// The name begins with `p2prpc-`: such services are p2prpc's own.
    #[error("a service may not be named {0}: names that begin with p2prpc- are p2prpc's own")]
    Reserved(&'static str),
    /// The node has been shut down.
    #[error("the node is closed")]
    Closed,
}

/// What a node serves.
pub(crate) struct Server {
    local: PeerId,
    limits: Limits,
    router: RwLock<Arc<Router>>,
    layers: RwLock<Layers>,
    accounts: Accounts,
    handle: Handle,
    leaving: AtomicBool,
    large: Large,
    refused: Refused,
    blocking: BlockingPlaces,
}

/// A call as it comes, whichever protocol it came by.
#[derive(Debug)]
pub(crate) struct Arriving {
    pub(crate) peer: PeerId,
    pub(crate) metadata: Metadata,
    /// The time that its caller leaves it, if it says so.
    pub(crate) left: Option<Duration>,
    /// Otherwise it has to find room again once it is, before it runs ([`CallPermit::begin`]).
    pub(crate) whole: bool,
    pub(crate) now: Instant,
}

/// A call that may be run.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) entry: Arc<MethodEntry>,
    /// Of the node, when the call came.
    layers: Layers,
    info: CallInfo,
    pub(crate) deadline: Instant,
    pub(crate) permit: CallPermit,
    method_permit: Option<MethodPermit>,
    local: bool,
    /// Of a call that streams.
    pub(crate) stream: Option<StreamParts>,
}

impl Server {
    pub(crate) fn new(local: PeerId, limits: Limits, handle: Handle) -> Self {
        Server {
            local,
            accounts: Accounts::new(limits.clone()),
            limits,
            router: RwLock::default(),
            layers: RwLock::default(),
            handle,
            leaving: AtomicBool::new(false),
            large: Large::default(),
            refused: Refused::default(),
            blocking: BlockingPlaces::default(),
        }
    }

    pub(crate) fn local(&self) -> PeerId {
        self.local
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    pub(crate) fn blocking_places(&self) -> &BlockingPlaces {
        &self.blocking
    }

    pub(crate) fn router(&self) -> Arc<Router> {
        self.router.read().clone()
    }

    pub(crate) fn serve(&self, service: Service) -> Result<(), ServeError> {
        if service.name().starts_with(INTERNAL_PREFIX) {
            return Err(ServeError::Reserved(service.name()));
        }
        self.add(service)
    }

    /// Serve one of p2prpc's own services.
    pub(crate) fn serve_internal(&self, service: Service) -> Result<(), ServeError> {
        self.add(service)
    }

    /// Serve it no more. False if it isn't served, or is p2prpc's own.
    pub(crate) fn unserve(&self, name: &str) -> bool {
        let mut router = self.router.write();
        let Some(without) = router.without(name) else { return false };
        *router = Arc::new(without);
        true
    }

    fn add(&self, service: Service) -> Result<(), ServeError> {
        let mut router = self.router.write();
        *router = Arc::new(router.with(service)?);
        Ok(())
    }

    /// Before all services but the internal ones, behind those that are there.
    pub(crate) fn add_layers(&self, layers: Layers) {
        self.layers.write().append(layers);
    }

    /// A peer has sent too much that is of no use: its streams are refused for a while.
    pub(crate) fn refuse_for_a_while(&self, peer: PeerId) {
        self.refused.add(peer, Instant::now());
    }

    pub(crate) fn refuses(&self, peer: &PeerId) -> bool {
        self.refused.contains(peer, Instant::now())
    }

    /// Take no new calls.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// May this call run, and is there room for it? Authorisation comes first, so that a caller who may not call learns
    /// nothing, not even of limits.
    pub(crate) fn admit(
        &self,
        found: Result<&Arc<MethodEntry>, Refusal>,
        account: &Arc<PeerAccount>,
        call: Arriving,
    ) -> Result<Admitted, Refusal> {
        let entry = found?;
        let Arriving { peer, metadata, left, whole, now } = call;
        let info = CallInfo::new(peer, entry.service.name(), entry.descriptor().name, metadata);
        let layers = if entry.internal { Layers::default() } else { self.layers.read().clone() };
        if !layers.allows(&info) || !entry.service.layers().allows(&info) {
            tracing::debug!(peer = %info.peer(), method = entry.descriptor().full_name, "a call was denied");
            return Err(Refusal::Denied);
        }
        if self.leaving.load(Ordering::Acquire) {
            return Err(Refusal::Leaving);
        }
        let method_permit = MethodPermit::take(entry, peer, now)?;
        let permit = if whole { account.admit() } else { account.admit_coming() };
        let permit = permit.ok_or(Refusal::NoRoom)?;
        let left = left.unwrap_or(self.limits.max_deadline).min(self.limits.max_deadline);
        if left.is_zero() {
            return Err(Refusal::Late);
        }
        let deadline = now.checked_add(left).unwrap_or(now + LONGEST_DEADLINE);
        let local = info.peer() == self.local;
        Ok(Admitted { entry: entry.clone(), layers, info, deadline, permit, method_permit, local, stream: None })
    }

    /// Decode the arguments and make the handler. Nothing of it can panic outwards.
    pub(crate) fn start(
        &self,
        call: Admitted,
        format: Format,
        body: &[u8],
        account: &Arc<PeerAccount>,
        max_reply: usize,
    ) -> (Guarded, CallPermit, Instant) {
        let Admitted { entry, layers, info, deadline, permit, method_permit, local, stream } = call;
        let layered = !layers.is_empty() || !entry.service.layers().is_empty();
        let told = layered.then(|| info.clone());
        let peer = info.peer();
        let cx = Context::new(info, deadline, self.handle.clone(), local, format.into());
        let max_reply = max_reply.min(self.limits.max_message).min(entry.descriptor().max_reply.unwrap_or(usize::MAX));
        let incoming = Incoming { format, body, cx, account: Some(account.clone()), max_reply, stream };
        let handler = Guarded::new(entry.descriptor().full_name, peer, method_permit, || {
            let handler = entry.service.call(entry.method, incoming);
            match &told {
                None => handler,
                Some(info) => layers.wrap(info, entry.service.layers().wrap(info, handler)),
            }
        });
        (handler, permit, deadline)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local", &self.local)
            .field("router", &self.router.read())
            .finish_non_exhaustive()
    }
}
