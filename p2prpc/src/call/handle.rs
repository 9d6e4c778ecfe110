//! The way from a client into the network, whoever drives it.

#[cfg(feature = "node")]
use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use libp2p::PeerId;

use crate::accounts::PeerAccount;
use crate::blocking::BlockingPlaces;
use crate::call::{Channel, Context, Formats, Found, Route};
use crate::codec::CodecId;
use crate::error::{ErrorKind, RpcError};
use crate::members::{Members, Snapshot};

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
    /// So many calls were made to any member.
    turns: AtomicUsize,
    /// What the node keeps with its handles.
    #[cfg(feature = "node")]
    of_node: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// The way that was last found on this thread.
struct LastRoute {
    handle: u64,
    peer: PeerId,
    channel: Weak<dyn Channel>,
    defaults: CallDefaults,
}

thread_local! {
    /// A loop calls one peer again and again, from many threads at once: finding the way afresh would have their processors
    /// wait for each other's counters and locks.
    static LAST_ROUTE: RefCell<Option<LastRoute>> = const { RefCell::new(None) };
}

impl Handle {
    /// A handle whose network comes later.
    pub(crate) fn unstarted() -> Self {
        static HANDLES: AtomicU64 = AtomicU64::new(0);
        let number = HANDLES.fetch_add(1, Ordering::Relaxed);
        let shared = Shared {
            number,
            network: OnceLock::new(),
            turns: AtomicUsize::new(0),
            #[cfg(feature = "node")]
            of_node: OnceLock::new(),
        };
        Handle { shared: Arc::new(shared), deadline: None }
    }

    /// Say which network this handle, and all clones of it, lead into. Only the first word counts.
    pub(crate) fn lead_into(&self, network: Weak<dyn Network>) {
        let _ = self.shared.network.set(network);
    }

    /// Keep this for the node. Only the first is kept.
    #[cfg(feature = "node")]
    pub(crate) fn keep(&self, of_node: impl Any + Send + Sync) {
        let _ = self.shared.of_node.set(Box::new(of_node));
    }

    /// What was kept, if it is of this type.
    #[cfg(feature = "node")]
    pub(crate) fn kept<T: Any>(&self) -> Option<&T> {
        self.shared.of_node.get()?.downcast_ref()
    }

    /// A number for each call to any member, so that not the same one is always asked first.
    pub(crate) fn turn(&self) -> usize {
        self.shared.turns.fetch_add(1, Ordering::Relaxed)
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

    /// The way to a peer, without an error if there is none yet: that is for the call to tell, once it is polled.
    pub(crate) fn route_to(&self, peer: PeerId) -> Route {
        let deadline = self.deadline;
        let last = LAST_ROUTE.try_with(|last| {
            let last = last.try_borrow().ok()?;
            let last = last.as_ref().filter(|last| last.handle == self.shared.number && last.peer == peer)?;
            Some((last.channel.upgrade()?, last.defaults))
        });
        if let Ok(Some((channel, defaults))) = last {
            return Route::Known(Found { channel, defaults, deadline });
        }
        let Ok(found) = self.find(peer) else { return Route::Unknown(self.clone()) };
        let (channel, defaults) = (Arc::downgrade(&found.channel), found.defaults);
        let route = LastRoute { handle: self.shared.number, peer, channel, defaults };
        // The one before it is dropped outside: that may be the last of its channel.
        let _before = LAST_ROUTE.try_with(|last| last.try_borrow_mut().ok().and_then(|mut last| last.replace(route)));
        Route::Known(found)
    }

    pub(crate) fn find(&self, peer: PeerId) -> Result<Found, RpcError> {
        let network = self.network()?;
        Ok(Found { channel: network.channel(peer), defaults: network.defaults(), deadline: self.deadline })
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
    fn channel(&self, peer: PeerId) -> Arc<dyn Channel>;
    fn members(&self) -> &Members;
    fn defaults(&self) -> CallDefaults;
    /// Where handlers do blocking work.
    fn blocking_places(&self) -> &BlockingPlaces;
    /// What counts the calls of this peer.
    fn account(&self, peer: PeerId) -> Arc<PeerAccount>;
    /// The formats that calls to all members have to be there in.
    fn formats(&self) -> Formats {
        Formats::NATIVE
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
