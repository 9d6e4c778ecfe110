//! A node, with everything it needs to be found and to be called: transports, identity, membership.

mod behaviour;
mod builder;
#[cfg(feature = "serde")]
mod config;
mod control;
mod dht;
mod discovered;
mod error;
mod event;
mod identity;
mod net;
mod peer_cache;
mod swarm;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{Stream, StreamExt};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use crate::behaviour::Core;
use crate::call::Handle;
use crate::clock;
use crate::error::{ErrorKind, RpcError};
use crate::members::Snapshot;
use crate::membership::Diagnosis;
use crate::server::ServeError;
use crate::service::Service;

pub use builder::NodeBuilder;
#[cfg(feature = "serde")]
pub use config::NodeConfig;
pub use error::{ConnectError, StartError};
pub use event::{Events, NodeEvent};
pub use identity::{Identity, IdentityError, InvalidIdentity};
pub use net::address::{IntoAddress, InvalidAddress};
pub use net::admission::Direction;
pub use net::connections::{ConnectionInfo, Transport};
#[cfg(feature = "pnet")]
pub use net::private_network::{PreSharedKey, PreSharedKeyError};
pub use net::reachability::Reachability;

use control::{Control, WeakControl};
use event::Announcer;
use net::address_book::AddressBook;
use net::admission::Admission;
use swarm::{Command, Driver};

/// A dial ends after 10 s; names are resolved before.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// What `shutdown` may take beyond its grace.
const SHUTDOWN_BEYOND_GRACE: Duration = Duration::from_secs(1);

/// A running peer: it listens, finds the others of its rendezvous, serves and calls.
///
/// It runs in a task of its own on the Tokio runtime that it was started on. Dropping it ends everything at once: calls
/// under way fail, peers see the connections close. [`shutdown`](Node::shutdown) ends it politely.
///
/// ```no_run
/// use p2prpc::prelude::*;
///
/// #[p2p_service]
/// pub trait Greeter {
///     async fn greet(&self, name: String) -> String;
/// }
///
/// struct Polite;
/// impl Greeter for Polite {
///     async fn greet(&self, name: String) -> String {
///         format!("Good day, {name}.")
///     }
/// }
///
/// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
/// let node = Node::builder()
///     .listen("/ip4/0.0.0.0/tcp/0")
///     .rendezvous("example/greeters")
///     .serve(GreeterServer::new(Polite))
///     .start()
///     .await?;
/// for (peer, greeting) in GreeterClient::new(&node).greet_all("Ada".into()).await {
///     println!("{peer}: {greeting:?}");
/// }
/// # Ok(()) }
/// ```
pub struct Node {
    local: PeerId,
    handle: Handle,
    core: Weak<Core>,
    control: Control,
    admission: Admission,
    task: AbortHandle,
    /// Its other end goes with the task.
    ended: watch::Receiver<()>,
}

impl Node {
    /// What a node is made with.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::new()
    }

    async fn start(mut builder: NodeBuilder) -> Result<Node, StartError> {
        let (commands, received) = mpsc::unbounded_channel();
        let (handle, admission) = (builder.handle.clone(), builder.admission.clone());
        let local = builder.identity.get_or_insert_with(Identity::generate).peer_id();
        let control =
            Control { announcer: Arc::new(Announcer::new(local)), address_book: AddressBook::default(), commands };
        handle.keep(WeakControl::of(&control));
        let (ends, ended) = watch::channel(());
        let driver = Driver::start(builder, &control, received).await?;
        Ok(Node {
            local,
            handle,
            core: Arc::downgrade(driver.core()),
            control,
            admission,
            task: tokio::spawn(async move {
                driver.run().await;
                drop(ends);
            })
            .abort_handle(),
            ended,
        })
    }

    /// Who this node is.
    pub fn peer_id(&self) -> PeerId {
        self.local
    }

    /// Where this node listens, in full: each address ends with the node's own `/p2p/` part. Wildcards are spelled out.
    ///
    /// It changes as network interfaces come and go; [`events`](Node::events) tells when.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.control.announcer.addresses()
    }

    /// What clients are made from. It doesn't keep the node running.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serve a service, from now on. Members are told.
    ///
    /// # Errors
    /// If one of its name is served already, the name is reserved, or the node is closed.
    pub fn serve(&self, service: impl Into<Service>) -> Result<(), ServeError> {
        let core = self.core.upgrade().ok_or(ServeError::Closed)?;
        core.server().serve(service.into())?;
        self.control.tell(Command::ServicesChanged);
        Ok(())
    }

    /// Serve the service of this name on the wire no more. Members are told; calls of it end as
    /// [`ErrorKind::NotServed`] from now on, never sent, and those under way go on. False if none of the name is served.
    pub fn unserve(&self, name: &str) -> bool {
        let gone = self.core.upgrade().is_some_and(|core| core.server().unserve(name));
        if gone {
            self.control.tell(Command::ServicesChanged);
        }
        gone
    }

    /// The members now: all peers that `all()` may ask.
    pub fn members(&self) -> Snapshot {
        self.handle.network().map(|network| network.members().snapshot()).unwrap_or_default()
    }

    /// The members: now, and again after each change. Changes in quick succession may come as one. It ends with the node.
    pub fn watch_members(&self) -> impl Stream<Item = Snapshot> + Unpin + Send + use<> {
        let watch = self.handle.network().ok().map(|network| {
            let mut watch = network.members().watch();
            watch.mark_changed();
            watch
        });
        futures::stream::unfold(watch, |watch| async move {
            let mut watch = watch?;
            watch.changed().await.ok()?;
            let snapshot = watch.borrow_and_update().clone();
            Some((snapshot, Some(watch)))
        })
        .boxed()
    }

    /// Waits until there are `n` members or more, and gives them in the order of their peer ids.
    ///
    /// # Errors
    /// If the node goes away.
    pub async fn wait_for_members(&self, n: usize) -> Result<Vec<PeerId>, RpcError> {
        let mut snapshots = self.watch_members();
        while let Some(snapshot) = snapshots.next().await {
            if snapshot.len() >= n {
                return Ok(snapshot.keys().copied().collect());
            }
        }
        Err(RpcError::never_sent(ErrorKind::Closed, "it ended while members were waited for"))
    }

    /// The connections now, to members and to others, the oldest of each peer first. Several to one peer are usual: two peers that dial
    /// each other at the same moment keep both. Empty once the node has ended.
    ///
    /// ```no_run
    /// # fn doc(node: &p2prpc::Node) {
    /// for (peer, connections) in node.connections() {
    ///     for connection in connections {
    ///         println!("{peer} at {}: {:?}", connection.address, connection.round_trip);
    ///     }
    /// }
    /// # }
    /// ```
    pub fn connections(&self) -> BTreeMap<PeerId, Vec<ConnectionInfo>> {
        self.core.upgrade().map(|core| net::connections::connections(&core)).unwrap_or_default()
    }

    /// What happens at this node: first what holds now (addresses, bootstrap peers out of reach or connected, members), then all events from now on.
    pub fn events(&self) -> Events {
        self.control.announcer.receiver()
    }

    /// Why the node has the company that it has: print it when a node is alone longer than it should be.
    ///
    /// ```no_run
    /// # async fn doc(node: &p2prpc::Node) {
    /// if node.members().is_empty() {
    ///     eprintln!("{}", node.diagnose().await);
    /// }
    /// # }
    /// ```
    ///
    /// Of a node that has ended it is [`Diagnosis::default`].
    pub async fn diagnose(&self) -> Diagnosis {
        let (answer, answered) = oneshot::channel();
        self.control.tell(Command::Diagnose { answer });
        answered.await.unwrap_or_default()
    }

    /// Connect to whoever is at this address, and say who that is. With a `/p2p/` part it must be that peer; one that is connected already is left as it is.
    ///
    /// Asked for the same many times at once, it makes one connection, and all get its outcome. The connection ends after 10 s if
    /// nothing uses it. It gives up after 20 s.
    ///
    /// # Errors
    /// If the address can't be used, nobody or somebody else answers, or the connection is not allowed.
    pub async fn connect(&self, address: impl IntoAddress) -> Result<PeerId, ConnectError> {
        control::connect(self.control.clone(), address.into_address()?).await
    }

    /// Say where a peer is. Calls to it, and whatever else connects to it, try that first; a peer that is being dialled is dialled
    /// there too, at once. At most 8 addresses of a peer are kept, the latest, as long as the node runs.
    ///
    /// # Errors
    /// If the address can't be used, or names another peer.
    pub fn add_address(&self, peer: PeerId, address: impl IntoAddress) -> Result<(), InvalidAddress> {
        self.control.add_address(peer, address.into_address()?)
    }

    /// Have nothing to do with this peer: its connections are closed, it is no member any more, and it can't connect until
    /// [`unblock`](Node::unblock). Nothing is dialled for calls to it either: they end as
    /// [`ErrorKind::Unreachable`].
    pub fn block(&self, peer: PeerId) {
        self.admission.block(peer);
        self.control.tell(Command::Block { peer });
    }

    /// Take back [`block`](Node::block). If it is known where the peer is, it is dialled within a few seconds; a node that was
    /// refused tries again by itself, within 8 s if this node is a bootstrap peer of it, within a minute otherwise.
    pub fn unblock(&self, peer: PeerId) {
        self.admission.unblock(&peer);
        self.control.tell(Command::Unblock { peer });
    }

    /// End politely: stop listening and advertising, tell the members, take no new calls, let those under way finish for up to
    /// `grace`, close the connections. It takes a second more than `grace` at most, whatever handlers and peers do.
    ///
    /// New calls of others end as [`ErrorKind::ShuttingDown`], own ones as [`ErrorKind::Closed`]; both were never sent.
    /// Dropping the future ends the node at once.
    pub async fn shutdown(self, grace: Duration) {
        self.close(grace).await;
    }

    /// [`shutdown`](Node::shutdown) of a node that others hold too, in an `Arc` say. It is closed afterwards, for all of them.
    pub async fn close(&self, grace: Duration) {
        // Whatever comes of it: what is left ends then.
        let _ends = AbortOnDrop(&self.task);
        self.control.tell(Command::Shutdown { grace });
        let longest = grace.saturating_add(SHUTDOWN_BEYOND_GRACE);
        let mut ended = self.ended.clone();
        let gone = pin!(async move { while ended.changed().await.is_ok() {} });
        let _ = clock::within(longest, gone).await;
    }
}

struct AbortOnDrop<'a>(&'a AbortHandle);

impl Drop for AbortOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl From<&Node> for Handle {
    fn from(node: &Node) -> Self {
        node.handle()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("peer_id", &format_args!("{}", self.local))
            .field("addresses", &self.addresses())
            .field("members", &self.members().len())
            .finish_non_exhaustive()
    }
}
