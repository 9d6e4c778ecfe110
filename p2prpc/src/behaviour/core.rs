//! What clients, connections and the swarm's side share.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncWrite};
use hashbrown::HashMap;
use libp2p::PeerId;
#[cfg(feature = "node")]
use libp2p::swarm::ConnectionId;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::accepted::Accepted;
use super::connections::Opens;
use crate::call::{CallDefaults, Handle, Link, Network};
use crate::codec::CodecId;
use crate::limits::Limits;
use crate::members::Members;
#[cfg(feature = "gorpc")]
use crate::peer::BilingualLink;
use crate::peer::{Connection, Opener, PeerLink, ServerStream, SessionConfig};
use crate::server::{LocalLink, Server};
use crate::wire::GoAwayReason;

/// The network that a [`Behaviour`](super::Behaviour) drives.
pub(crate) struct Core {
    local: Arc<LocalLink>,
    server: Arc<Server>,
    links: Mutex<HashMap<PeerId, Weak<PeerLink>>>,
    /// Where peers may speak gorpc.
    #[cfg(feature = "gorpc")]
    bilingual: Option<Mutex<HashMap<PeerId, Weak<BilingualLink>>>>,
    link_config: Arc<SessionConfig>,
    members: Members,
    defaults: CallDefaults,
    served: Mutex<HashMap<PeerId, Accepted>>,
}

/// What streams and clients want the behaviour to know. Without one to hear it calls end with their deadlines, or when the node closes.
pub(super) enum Command {
    /// This link needs a call stream.
    Open(Arc<PeerLink>),
    /// This peer has said hello on a stream of ours.
    Greeted(PeerId),
    /// This peer has answered a call in gorpc.
    #[cfg(feature = "gorpc")]
    AnsweredInGorpc(PeerId),
}

struct Commands(mpsc::UnboundedSender<Command>);

impl Opener for Commands {
    fn open(&self, link: Arc<PeerLink>) {
        let _ = self.0.send(Command::Open(link));
    }

    fn greeted(&self, peer: PeerId) {
        let _ = self.0.send(Command::Greeted(peer));
    }

    #[cfg(feature = "gorpc")]
    fn answered_in_gorpc(&self, peer: PeerId) {
        let _ = self.0.send(Command::AnsweredInGorpc(peer));
    }
}

impl Core {
    pub(super) fn new(
        local: PeerId,
        limits: Limits,
        timeout: Duration,
        codec: CodecId,
        idle_timeout: Duration,
        #[cfg(feature = "gorpc")] gorpc: bool,
    ) -> (Arc<Self>, Handle, mpsc::UnboundedReceiver<Command>) {
        let limits = limits.settled();
        let (commands, received) = mpsc::unbounded_channel();
        let handle = Handle::unstarted();
        let server = Arc::new(Server::new(local, limits.clone(), handle.clone()));
        let defaults = CallDefaults { timeout, codec, max_message: limits.max_message };
        let core = Arc::new(Core {
            local: Arc::new(LocalLink::new(server.clone())),
            server,
            links: Mutex::default(),
            #[cfg(feature = "gorpc")]
            bilingual: gorpc.then(Mutex::default),
            link_config: Arc::new(SessionConfig::new(limits, idle_timeout, Box::new(Commands(commands)))),
            members: Members::new(),
            defaults,
            served: Mutex::default(),
        });
        let weak = Arc::downgrade(&core);
        handle.connect(weak);
        (core, handle, received)
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The one link to a peer. It lives as long as anyone holds it.
    pub(super) fn link_of(&self, peer: PeerId) -> Arc<PeerLink> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(&peer).and_then(Weak::upgrade) {
            return link;
        }
        let link = PeerLink::new(peer, self.link_config.clone());
        remember(&mut links, peer, &link);
        link
    }

    /// The one link to a peer that may speak gorpc, unless no peer may.
    #[cfg(feature = "gorpc")]
    pub(super) fn bilingual_link_of(&self, peer: PeerId) -> Option<Arc<BilingualLink>> {
        let mut links = self.bilingual.as_ref()?.lock();
        if let Some(link) = links.get(&peer).and_then(Weak::upgrade) {
            return Some(link);
        }
        let link = BilingualLink::new(self.link_of(peer), self.link_config.clone());
        remember(&mut links, peer, &link);
        Some(link)
    }

    /// What wants streams to this peer.
    pub(super) fn opens(&self, peer: PeerId) -> Arc<dyn Opens> {
        #[cfg(feature = "gorpc")]
        if let Some(link) = self.bilingual_link_of(peer) {
            return link;
        }
        self.link_of(peer)
    }

    pub(super) fn last_heard(&self, peer: &PeerId) -> Option<Instant> {
        self.links.lock().get(peer).and_then(Weak::upgrade)?.last_heard()
    }

    /// The connections of a peer that are silent although they were asked for a sign of life, the oldest first.
    #[cfg(feature = "node")]
    pub(crate) fn silent_connections(&self, peer: &PeerId) -> Vec<ConnectionId> {
        let link = self.links.lock().get(peer).and_then(Weak::upgrade);
        let connections = link.map(|link| link.connections()).unwrap_or_default();
        connections.iter().filter(|connection| connection.is_suspected()).map(|connection| connection.id()).collect()
    }

    /// The peers that are connected, with their connections.
    #[cfg(feature = "node")]
    pub(crate) fn links(&self) -> Vec<Arc<PeerLink>> {
        self.links.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// True if new calls to the peer go out on this connection.
    #[cfg(feature = "node")]
    pub(crate) fn calls_on(&self, peer: PeerId, connection: &Arc<Connection>) -> bool {
        #[cfg(feature = "gorpc")]
        if let Some(link) = self.bilingual_link_of(peer) {
            return link.calls_on(connection);
        }
        self.link_of(peer).calls_on(connection)
    }

    /// Since when nothing was heard of a peer on call streams, if nobody would miss it: it is no member, and no call is
    /// under way either way. `None` within for one that was never heard.
    #[cfg(feature = "node")]
    pub(crate) fn quiet_since(&self, peer: &PeerId) -> Option<Option<Instant>> {
        if self.members.snapshot().contains_key(peer) {
            return None;
        }
        let serving =
            self.served.lock().get(peer).is_some_and(|served| served.streams().any(|stream| stream.has_work()));
        #[cfg(feature = "gorpc")]
        let serving = serving
            || self.bilingual.as_ref().is_some_and(|links| {
                links.lock().get(peer).and_then(Weak::upgrade).is_some_and(|link| link.serving() > 0)
            });
        let link = self.links.lock().get(peer).and_then(Weak::upgrade);
        if serving || link.as_ref().is_some_and(|link| link.is_busy()) {
            return None;
        }
        Some(link.and_then(|link| link.last_used()))
    }

    /// A peer has opened a call stream. One too many is reset.
    pub(super) fn accept<S>(
        &self,
        peer: PeerId,
        remote: Option<IpAddr>,
        connection: Arc<Connection>,
        io: S,
    ) -> Option<Arc<ServerStream>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if self.server.refuses(&peer) {
            tracing::debug!(%peer, "a call stream of a peer that sent much of no use is reset");
            return None;
        }
        let mut served = self.served.lock();
        let streams = served.entry(peer).or_default();
        if !streams.make_room() {
            tracing::debug!(%peer, "too many call streams: one is reset");
            return None;
        }
        let account = self.server.accounts().open(peer, remote);
        let stream = ServerStream::spawn(self.server.clone(), account, peer, io);
        streams.push(connection, stream.clone());
        Some(stream)
    }

    /// The last connection of a peer has ended.
    pub(super) fn forget(&self, peer: &PeerId) {
        self.served.lock().remove(peer);
    }

    /// Callers that have made no call since then are told to go away.
    #[cfg(feature = "node")]
    pub(crate) fn dismiss_idle(&self, since: Instant) {
        for stream in self.served.lock().values().flat_map(Accepted::taking) {
            stream.go_away_if_idle(since);
        }
    }

    /// Take no new calls and make none.
    pub(super) fn go_away(&self) {
        self.server.leave();
        self.close_links();
        for served in self.served.lock().values() {
            for stream in served.streams() {
                stream.go_away(GoAwayReason::ShuttingDown);
            }
        }
    }

    fn close_links(&self) {
        self.link_config.close();
        let links: Vec<_> = self.links.lock().values().filter_map(Weak::upgrade).collect();
        for link in links {
            link.close();
        }
        #[cfg(feature = "gorpc")]
        for link in self.bilingual_links() {
            link.close();
        }
    }

    #[cfg(feature = "gorpc")]
    fn bilingual_links(&self) -> Vec<Arc<BilingualLink>> {
        let Some(links) = &self.bilingual else { return Vec::new() };
        links.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// True until callers whose calls were answered while we go have the answers: they are not theirs yet when they are written.
    #[cfg(feature = "node")]
    pub(crate) fn awaits_callers(&self) -> bool {
        let served = self.served.lock();
        served.values().flat_map(|served| served.streams()).any(|stream| stream.is_awaited())
    }

    pub(super) fn calls_in_flight(&self) -> usize {
        let served = self.served.lock();
        let served = served.values().map(|served| {
            let streams = || served.streams();
            let working = streams().filter(|stream| stream.has_work()).count();
            working.max(usize::from(streams().any(|stream| stream.has_calls())))
        });
        let served = served.sum::<usize>();
        #[cfg(feature = "gorpc")]
        let served = served + self.bilingual_links().iter().map(|link| link.serving()).sum::<usize>();
        served + self.link_config.calls_under_way() + self.local.calls_under_way()
    }
}

impl Network for Core {
    fn local_peer(&self) -> PeerId {
        self.server.local()
    }

    fn link(&self, peer: PeerId) -> Arc<dyn Link> {
        if peer == self.server.local() {
            return self.local.clone();
        }
        #[cfg(feature = "gorpc")]
        if let Some(link) = self.bilingual_link_of(peer) {
            return link;
        }
        self.link_of(peer)
    }

    fn members(&self) -> &Members {
        &self.members
    }

    fn defaults(&self) -> CallDefaults {
        self.defaults
    }

    #[cfg(feature = "gorpc")]
    fn speaks_gorpc(&self) -> bool {
        self.bilingual.is_some()
    }
}

/// Entries of links that are no more go when the table would have to grow.
fn remember<L>(links: &mut HashMap<PeerId, Weak<L>>, peer: PeerId, link: &Arc<L>) {
    if links.len() == links.capacity() {
        links.retain(|_, link| link.strong_count() > 0);
    }
    links.insert(peer, Arc::downgrade(link));
}

impl Drop for Core {
    fn drop(&mut self) {
        self.server.leave();
        self.close_links();
        self.local.end();
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("server", &self.server).finish_non_exhaustive()
    }
}
