//! What a handler and an authorisation rule know of a call.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use parking_lot::Mutex;

use crate::accounts::Accounts;
use crate::blocking::BlockingPlaces;
use crate::call::{DEFAULT_TIMEOUT, Handle};
use crate::clock::{after, now};
use crate::limits::Limits;
use crate::metadata::{InvalidMetadata, Metadata};

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

/// What a handler sends along with its answer. All clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplyMetadata(Arc<Mutex<Metadata>>);

impl ReplyMetadata {
    /// `None` if there is none.
    pub(crate) fn take(self) -> Option<Box<Metadata>> {
        let metadata = std::mem::take(&mut *self.0.lock());
        (!metadata.is_empty()).then(|| Box::new(metadata))
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
    /// Made when somebody asks for it.
    reply_metadata: OnceLock<ReplyMetadata>,
}

impl Context {
    pub(crate) fn new(info: CallInfo, deadline: Instant, handle: Handle, local: bool, dialect: Dialect) -> Self {
        Context { info, deadline, handle, local, dialect, reply_metadata: OnceLock::new() }
    }

    /// A context for unit tests of handlers: this peer calls, over the network, with 10 s left and no metadata, and calls
    /// through its handle end as [`ErrorKind::NotStarted`](crate::ErrorKind::NotStarted).
    ///
    /// ```
    /// use p2prpc::prelude::*;
    ///
    /// let peer = PeerId::random();
    /// let mut metadata = p2prpc::Metadata::default();
    /// metadata.insert("trace", "1").unwrap();
    /// let cx = Context::for_tests(peer).with_metadata(metadata).with_timeout(std::time::Duration::from_secs(1));
    /// assert_eq!((cx.peer(), cx.metadata().get("trace")), (peer, Some("1")));
    /// ```
    pub fn for_tests(peer: PeerId) -> Self {
        let info = CallInfo::new(peer, "", "", Metadata::default());
        Context::new(info, after(DEFAULT_TIMEOUT), Handle::unstarted(), false, Dialect::Native)
    }

    /// With this metadata, in a unit test.
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.info.metadata = metadata;
        self
    }

    /// With so much time left, in a unit test.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.deadline = after(timeout);
        self
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

    /// Send a key and a value along with the answer, be it a value or an error of the handler's own: the caller reads it with
    /// [`Call::with_metadata`](crate::Call::with_metadata). The value of a key that is there already is replaced.
    /// A call that ends without a word of the handler (it panicked, it was too late) brings none, and a Go peer gets none.
    ///
    /// # Errors
    /// If the key is malformed or reserved, or the pair would take the answer past a limit of [`Metadata`]; nothing is changed then.
    ///
    /// ```
    /// use p2prpc::prelude::*;
    ///
    /// #[p2p_service]
    /// trait Cache {
    ///     async fn get(&self, cx: &Context, key: String) -> Option<String>;
    /// }
    ///
    /// struct Empty;
    /// impl Cache for Empty {
    ///     async fn get(&self, cx: &Context, _: String) -> Option<String> {
    ///         cx.insert_reply_metadata("age", "0").expect("a short key and value");
    ///         None
    ///     }
    /// }
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let cache = CacheClient::local(CacheServer::new(Empty)).peer(PeerId::random());
    /// let (answer, metadata) = cache.get("a".into()).with_metadata().await;
    /// assert_eq!((answer.unwrap(), metadata.get("age")), (None, Some("0")));
    /// # });
    /// ```
    pub fn insert_reply_metadata(&self, key: impl AsRef<str>, value: impl Into<String>) -> Result<(), InvalidMetadata> {
        self.reply_metadata().0.lock().insert(key, value)
    }

    pub(crate) fn reply_metadata(&self) -> ReplyMetadata {
        self.reply_metadata.get_or_init(ReplyMetadata::default).clone()
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

    /// The way back into the network, for calls that the handler's answer waits for. They inherit this call's deadline: theirs is
    /// never later. For work that goes on after the answer see [`detached`](Context::detached).
    pub fn handle(&self) -> Handle {
        self.handle.clone().with_deadline(self.deadline)
    }

    /// The way back into the network, for work that the handler leaves behind, in a task that it spawns say. Calls through it have
    /// deadlines of their own, as if they weren't made in a handler.
    pub fn detached(&self) -> Handle {
        self.handle.clone()
    }

    /// Do work that takes long without waiting, reading a file or hashing a large value say, on a thread that is there for it, and give what it
    /// gives: other calls aren't held up meanwhile. A panic of it is the handler's.
    ///
    /// At most 4 pieces of work for each processor are done at once at a node; one more waits for its turn, as long as the call has time. Work that
    /// has begun can't be stopped: if the call ends before, it goes on, and takes a place among the calls of its caller
    /// ([`Limits::max_calls_per_peer`](crate::Limits)) until it is done.
    ///
    /// ```
    /// use p2prpc::prelude::*;
    ///
    /// #[p2p_service]
    /// trait Files {
    ///     async fn size(&self, cx: &Context, name: String) -> Result<u64, String>;
    /// }
    ///
    /// struct Disk;
    /// impl Files for Disk {
    ///     async fn size(&self, cx: &Context, name: String) -> Result<u64, String> {
    ///         let metadata = cx.blocking(move || std::fs::metadata(name)).await;
    ///         metadata.map(|metadata| metadata.len()).map_err(|error| error.to_string())
    ///     }
    /// }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let files = FilesClient::local(FilesServer::new(Disk)).peer(PeerId::random());
    /// # assert!(files.size("Cargo.toml".into()).await.is_ok());
    /// # });
    /// ```
    ///
    /// # Panics
    /// If `work` does, or outside of a Tokio runtime, in a unit test with [`for_tests`](Context::for_tests) say.
    pub async fn blocking<T, F>(&self, work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (places, account) = match self.handle.network() {
            Ok(network) => (network.blocking_places().clone(), network.account(self.info.peer)),
            // The context of a unit test leads into no network.
            Err(_) => {
                let accounts = Accounts::new(Limits::default());
                (BlockingPlaces::default(), accounts.open(self.info.peer, None))
            }
        };
        places.run(account, work).await
    }
}
