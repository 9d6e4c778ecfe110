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
use crate::accounts::PeerAccount;
use crate::blocking::BlockingPlaces;
use crate::call::{CallDefaults, Channel, Dialect, Formats, Handle, Network};
use crate::codec::CodecId;
use crate::limits::Limits;
#[cfg(feature = "node")]
use crate::members::Member;
use crate::members::Members;
use crate::peer::{Connection, Opener, PeerSession, Reports, ServerStream, SessionConfig, serve_native};
use crate::server::{LocalChannel, Server};
#[cfg(feature = "node")]
use crate::service::Service;
use crate::wire::GoAwayReason;

/// The network that a [`Behaviour`](super::Behaviour) drives.
pub(crate) struct Core {
    local: Arc<LocalChannel>,
    server: Arc<Server>,
    sessions: Mutex<HashMap<PeerId, Weak<PeerSession>>>,
    session_config: Arc<SessionConfig>,
    opener: Arc<Commands>,
    formats: Formats,
    members: Members,
    defaults: CallDefaults,
    served: Mutex<HashMap<PeerId, Accepted>>,
}

/// What streams and clients want the behaviour to know. Without one to hear it calls end with their deadlines, or when the node closes.
pub(super) enum Command {
    /// This session needs a stream for calls.
    Open(Arc<PeerSession>),
    /// This peer has said hello on a stream of ours.
    Greeted(PeerId),
    /// This peer has answered a call in gorpc.
    AnsweredInGorpc(PeerId),
    /// This peer has declared a method otherwise than we have.
    MethodDiffers(PeerId, &'static str),
}

struct Commands(mpsc::UnboundedSender<Command>);

impl Opener for Commands {
    fn open(&self, session: Arc<PeerSession>) {
        let _ = self.0.send(Command::Open(session));
    }
}

impl Reports for Commands {
    fn greeted(&self, peer: PeerId) {
        let _ = self.0.send(Command::Greeted(peer));
    }

    fn answered_in_gorpc(&self, peer: PeerId) {
        let _ = self.0.send(Command::AnsweredInGorpc(peer));
    }

    fn method_differs(&self, peer: PeerId, method: &'static str) {
        let _ = self.0.send(Command::MethodDiffers(peer, method));
    }
}

impl Core {
    pub(super) fn new(
        local: PeerId,
        limits: Limits,
        timeout: Duration,
        codec: CodecId,
        idle_timeout: Duration,
        gorpc: bool,
        strict_methods: bool,
    ) -> (Arc<Self>, Handle, mpsc::UnboundedReceiver<Command>) {
        let limits = limits.settled();
        let (commands, received) = mpsc::unbounded_channel();
        let handle = Handle::unstarted();
        let server = Arc::new(Server::new(local, limits.clone(), handle.clone()));
        let defaults = CallDefaults { timeout, codec, max_message: limits.max_message };
        let opener = Arc::new(Commands(commands));
        let core = Arc::new(Core {
            local: Arc::new(LocalChannel::new(server.clone())),
            server,
            sessions: Mutex::default(),
            session_config: Arc::new(
                SessionConfig::new(limits, idle_timeout, gorpc, opener.clone()).strict_methods(strict_methods),
            ),
            opener,
            formats: Formats::of((!gorpc).then_some(Dialect::Native)),
            members: Members::new(),
            defaults,
            served: Mutex::default(),
        });
        let weak = Arc::downgrade(&core);
        handle.lead_into(weak);
        (core, handle, received)
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The one session with a peer. It lives as long as anyone holds it.
    pub(super) fn session(&self, peer: PeerId) -> Arc<PeerSession> {
        let mut sessions = self.sessions.lock();
        if let Some(session) = sessions.get(&peer).and_then(Weak::upgrade) {
            return session;
        }
        let session = PeerSession::new(peer, self.session_config.clone(), self.opener.clone());
        // Entries of sessions that are no more go when the table would have to grow.
        if sessions.len() == sessions.capacity() {
            sessions.retain(|_, session| session.strong_count() > 0);
        }
        sessions.insert(peer, Arc::downgrade(&session));
        if let Some(member) = self.members.snapshot().get(&peer) {
            session.set_methods(&member.methods);
        }
        session
    }

    fn session_if_any(&self, peer: &PeerId) -> Option<Arc<PeerSession>> {
        self.sessions.lock().get(peer).and_then(Weak::upgrade)
    }

    pub(super) fn last_heard(&self, peer: &PeerId) -> Option<Instant> {
        self.session_if_any(peer)?.last_heard()
    }

    /// The connections to a peer, the oldest first.
    #[cfg(feature = "node")]
    pub(crate) fn connections_with(&self, peer: &PeerId) -> Vec<Arc<Connection>> {
        self.session_if_any(peer).map(|session| session.connections()).unwrap_or_default()
    }

    /// Those of them that are silent although they were asked for a sign of life.
    #[cfg(feature = "node")]
    pub(crate) fn silent_connections(&self, peer: &PeerId) -> Vec<ConnectionId> {
        let connections = self.connections_with(peer);
        connections.iter().filter(|connection| connection.is_suspected()).map(|connection| connection.id()).collect()
    }

    /// The peers that are connected or called.
    pub(crate) fn sessions(&self) -> Vec<Arc<PeerSession>> {
        self.sessions.lock().values().filter_map(Weak::upgrade).collect()
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
        let session = self.session_if_any(peer);
        let serving = serving || session.as_ref().is_some_and(|session| session.serving() > 0);
        if serving || session.as_ref().is_some_and(|session| session.is_busy()) {
            return None;
        }
        Some(session.and_then(|session| session.last_used()))
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
        let stream = serve_native(self.server.clone(), account, peer, io);
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
        self.close_sessions();
        for served in self.served.lock().values() {
            for stream in served.streams() {
                stream.go_away(GoAwayReason::ShuttingDown);
            }
        }
    }

    fn close_sessions(&self) {
        self.session_config.close();
        for session in self.sessions() {
            session.close();
        }
    }

    /// What there is to say of a member. Methods of ours that it has declared otherwise are told.
    #[cfg(feature = "node")]
    pub(crate) fn set_member(&self, peer: PeerId, member: Member) {
        let methods = member.methods.clone();
        // Before, for those who call as soon as it is a member; and after, for a session that is made meanwhile.
        if let Some(session) = self.session_if_any(&peer) {
            session.set_methods(&methods);
        }
        self.members.insert(peer, member);
        let Some(session) = self.session_if_any(&peer) else { return };
        session.set_methods(&methods);
        if self.defaults.codec.is_positional() {
            for method in self.server.router().services().flat_map(Service::methods) {
                session.differs(method.full_name, method);
            }
        }
    }

    /// A peer is no member any more.
    #[cfg(feature = "node")]
    pub(crate) fn remove_member(&self, peer: &PeerId) {
        self.members.remove(peer);
        if let Some(session) = self.session_if_any(peer) {
            session.set_methods(&Arc::default());
        }
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
        let served = served + self.sessions().iter().map(|session| session.serving()).sum::<usize>();
        served + self.session_config.calls_under_way() + self.local.calls_under_way()
    }
}

impl Network for Core {
    fn local_peer(&self) -> PeerId {
        self.server.local()
    }

    fn channel(&self, peer: PeerId) -> Arc<dyn Channel> {
        if peer == self.server.local() {
            return self.local.clone();
        }
        self.session(peer)
    }

    fn blocking_places(&self) -> &BlockingPlaces {
        self.server.blocking_places()
    }

    fn account(&self, peer: PeerId) -> Arc<PeerAccount> {
        self.server.accounts().open(peer, None)
    }

    fn members(&self) -> &Members {
        &self.members
    }

    fn defaults(&self) -> CallDefaults {
        self.defaults
    }

    fn formats(&self) -> Formats {
        self.formats
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.server.leave();
        self.close_sessions();
        self.local.end();
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("server", &self.server).finish_non_exhaustive()
    }
}
