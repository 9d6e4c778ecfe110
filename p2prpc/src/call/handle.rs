//! The way from a client into the network, whoever drives it.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libp2p::PeerId;

use crate::call::Context;
use crate::call::PendingCall;
use crate::codec::CodecId;
use crate::error::{ErrorKind, RpcError};
use crate::members::{Members, Snapshot};
use crate::metadata::Metadata;

/// What a client is made from: a weak, cheap to clone reference to a running node or [`Behaviour`](crate::Behaviour).
///
/// It keeps nothing alive. Calls made through the handle of a node that is gone end as
/// [`ErrorKind::Closed`], of one that has not been started as [`ErrorKind::NotStarted`]; both were never sent.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    deadline: Option<Instant>,
}

struct Shared {
    /// No other handle of this process has it, now or later.
    number: u64,
    network: OnceLock<Weak<dyn Network>>,
}

/// The way to a peer, as far as it was known when a call was made.
pub(crate) enum Way {
    Known(Found),
    Unknown(Handle),
}

/// Where a call goes, what holds for it, and the deadline that it inherits.
pub(crate) struct Found {
    pub(crate) link: Arc<dyn Link>,
    pub(crate) defaults: CallDefaults,
    pub(crate) deadline: Option<Instant>,
}

/// The way that was last found on this thread.
struct LastWay {
    handle: u64,
    peer: PeerId,
    link: Weak<dyn Link>,
    defaults: CallDefaults,
}

thread_local! {
    /// A loop calls one peer again and again, from many threads at once: finding the way afresh would have their processors
    /// wait for each other's counters and locks.
    static LAST_WAY: RefCell<Option<LastWay>> = const { RefCell::new(None) };
}

impl Handle {
    /// A handle whose network comes later.
    pub(crate) fn unstarted() -> Self {
        static HANDLES: AtomicU64 = AtomicU64::new(0);
        let number = HANDLES.fetch_add(1, Ordering::Relaxed);
        Handle { shared: Arc::new(Shared { number, network: OnceLock::new() }), deadline: None }
    }

    /// Say which network this handle, and all clones of it, lead into. Only the first word counts.
    pub(crate) fn connect(&self, network: Weak<dyn Network>) {
        let _ = self.shared.network.set(network);
    }

    pub(crate) fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        self
    }

    /// The deadline that calls through this handle inherit.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn network(&self) -> Result<Arc<dyn Network>, RpcError> {
        match self.shared.network.get() {
            None => Err(RpcError::never_sent(ErrorKind::NotStarted, "start the node before it calls")),
            Some(network) => {
                network.upgrade().ok_or_else(|| RpcError::never_sent(ErrorKind::Closed, "it was shut down or dropped"))
            }
        }
    }

    /// The way to a peer, without a word of it if there is none yet: that is for the call to say, once it is polled.
    pub(crate) fn way_to(&self, peer: PeerId) -> Way {
        let deadline = self.deadline;
        let last = LAST_WAY.try_with(|last| {
            let last = last.try_borrow().ok()?;
            let last = last.as_ref().filter(|last| last.handle == self.shared.number && last.peer == peer)?;
            Some((last.link.upgrade()?, last.defaults))
        });
        if let Ok(Some((link, defaults))) = last {
            return Way::Known(Found { link, defaults, deadline });
        }
        let Ok(network) = self.network() else { return Way::Unknown(self.clone()) };
        let (link, defaults) = (network.link(peer), network.defaults());
        let way = LastWay { handle: self.shared.number, peer, link: Arc::downgrade(&link), defaults };
        // The one before it is dropped outside: that may be the last of its link.
        let _before = LAST_WAY.try_with(|last| last.try_borrow_mut().ok().and_then(|mut last| last.replace(way)));
        Way::Known(Found { link, defaults, deadline })
    }

    /// The members now, as `Node::members` says them; of a bare [`Behaviour`](crate::Behaviour) the connected
    /// peers that speak its protocol.
    ///
    /// # Errors
    /// If the node has not been started or is gone.
    pub fn members(&self) -> Result<Snapshot, RpcError> {
        Ok(self.network()?.members().snapshot())
    }

    /// The peer id of the node behind this handle.
    ///
    /// # Errors
    /// If the node has not been started or is gone.
    pub fn local_peer_id(&self) -> Result<PeerId, RpcError> {
        Ok(self.network()?.local_peer())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.shared.network.get() {
            None => "not started",
            Some(network) if network.strong_count() > 0 => "running",
            Some(_) => "closed",
        };
        f.debug_tuple("Handle").field(&state).finish()
    }
}

impl From<&Handle> for Handle {
    fn from(handle: &Handle) -> Self {
        handle.clone()
    }
}

impl From<&Context> for Handle {
    fn from(cx: &Context) -> Self {
        cx.handle()
    }
}

/// All that clients need of whatever holds the connections.
pub(crate) trait Network: Send + Sync + 'static {
    fn local_peer(&self) -> PeerId;
    fn link(&self, peer: PeerId) -> Arc<dyn Link>;
    fn members(&self) -> &Members;
    fn defaults(&self) -> CallDefaults;
    /// True if some peers may have to be called in gorpc.
    #[cfg(feature = "gorpc")]
    fn speaks_gorpc(&self) -> bool {
        false
    }
}

impl Way {
    pub(crate) fn resolve(self, peer: PeerId) -> Result<Found, RpcError> {
        match self {
            Way::Known(found) => Ok(found),
            Way::Unknown(handle) => {
                let network = handle.network()?;
                let (link, defaults) = (network.link(peer), network.defaults());
                Ok(Found { link, defaults, deadline: handle.deadline() })
            }
        }
    }
}

/// How long a call may take that doesn't say otherwise.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// What holds for a call that doesn't say otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallDefaults {
    pub(crate) timeout: Duration,
    pub(crate) codec: CodecId,
    pub(crate) max_message: usize,
}

/// The way to one peer, whether it is connected or not, far or this node itself.
pub(crate) trait Link: Send + Sync + 'static {
    /// Take a call. It never blocks; all that becomes of the call, failures included, comes through the slot.
    fn submit(&self, request: Request<'_>, slot: &Arc<PendingCall>);
    /// In which dialects a call is to be encoded. [`submit`](Link::submit) takes it if natively only, otherwise
    /// [`submit_either`](Link::submit_either).
    #[cfg(feature = "gorpc")]
    fn forms(&self) -> Forms {
        Forms::Native
    }
    /// Take a call for a peer that may speak gorpc, as [`submit`](Link::submit) does.
    #[cfg(feature = "gorpc")]
    fn submit_either(&self, call: EitherCall, slot: &Arc<PendingCall>) {
        match &call.native {
            Some(Ok(native)) => self.submit(native.request(&call), slot),
            Some(Err(error)) => slot.complete(Err(error.clone())),
            None => slot.complete(Err(RpcError::never_sent(ErrorKind::NotSupported, ""))),
        }
    }
    /// True if the tasks that look after the call run wherever its caller runs. A caller elsewhere keeps its deadline itself.
    fn is_driven_here(&self) -> bool {
        true
    }
    /// The caller has gone: forget the call, and tell the peer if it was told of it.
    fn cancel(&self, slot: &Arc<PendingCall>);
}

/// A call on its way out.
pub(crate) struct Request<'a> {
    /// `Service.Method`.
    pub(crate) method: &'static str,
    pub(crate) codec: CodecId,
    pub(crate) deadline: Instant,
    pub(crate) metadata: &'a Metadata,
    pub(crate) body: Body<'a>,
    /// Its caller makes it again when it ends as [`ErrorKind::ConnectionLost`]: it needn't wait for a connection that is silent.
    pub(crate) again: bool,
}

/// The dialects that a peer speaks, or may.
#[cfg(feature = "gorpc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forms {
    Native,
    Gorpc,
    /// It isn't known yet which.
    Both,
}

/// A call on its way to a peer that may speak gorpc.
#[cfg(feature = "gorpc")]
pub(crate) struct EitherCall {
    /// `Service.Method`.
    pub(crate) method: &'static str,
    pub(crate) deadline: Instant,
    /// It is made inside a handler.
    pub(crate) nested: bool,
    /// As [`Request::again`].
    pub(crate) again: bool,
    pub(crate) native: Option<Result<NativeForm, RpcError>>,
    /// `None` if the service has no name in gorpc.
    pub(crate) gorpc: Option<GoForm>,
}

/// What a call is made of natively.
#[cfg(feature = "gorpc")]
pub(crate) struct NativeForm {
    pub(crate) codec: CodecId,
    pub(crate) metadata: Metadata,
    pub(crate) body: Bytes,
}

#[cfg(feature = "gorpc")]
impl NativeForm {
    pub(crate) fn request<'a>(&'a self, call: &EitherCall) -> Request<'a> {
        Request {
            method: call.method,
            codec: self.codec,
            deadline: call.deadline,
            metadata: &self.metadata,
            body: Body::Shared(self.body.clone()),
            again: call.again,
        }
    }
}

/// What a call is made of in gorpc.
#[cfg(feature = "gorpc")]
pub(crate) struct GoForm {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    pub(crate) args: Result<Bytes, RpcError>,
}

/// The encoded arguments.
pub(crate) enum Body<'a> {
    /// Small, and copied by whoever keeps it.
    Borrowed(&'a [u8]),
    /// Large or sent to several peers, and shared by whoever keeps it.
    Shared(Bytes),
}

impl Body<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Body::Borrowed(bytes) => bytes,
            Body::Shared(bytes) => bytes,
        }
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        match self {
            Body::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Body::Shared(bytes) => bytes.clone(),
        }
    }
}
