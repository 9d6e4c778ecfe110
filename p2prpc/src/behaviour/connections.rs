//! Which connections there are, which dials are under way, and on which connection a call stream is opened.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};

use super::directory::Resolver;
use super::established::{Peer, Silence};
use super::{Event, MAX_DIALS_OF_PEER};
use crate::clock::now;
use crate::error::{ErrorKind, RpcError};
use crate::peer::{Connection, PeerSession};

/// What is to be done next for a call that waits.
#[derive(Debug)]
pub(super) enum Next {
    Nothing,
    Open(PeerId, ConnectionId),
    Dial(DialOpts),
    LookUp(Event),
    Fail(Arc<PeerSession>, RpcError),
}

#[derive(Debug, Default)]
pub(super) struct Connections {
    peers: HashMap<PeerId, Peer>,
    dialing: HashMap<PeerId, Dialing>,
    /// The dials under way, whoever asked for them.
    under_way: HashMap<ConnectionId, PeerId>,
}

/// Calls wait for a connection. They are given up when no dial of the peer is under way any more, ours included.
#[derive(Debug)]
struct Dialing {
    session: Arc<PeerSession>,
    /// Our own dial; `None` while someone else's is under way, or addresses are looked up.
    own: Option<ConnectionId>,
    /// What came of our own dial, while someone else's is under way.
    failure: Option<Failure>,
    looked_up: bool,
    looking_up: bool,
    /// It is the second dial, from a port of its own.
    fresh_port: bool,
}

/// What there is to know of a failed dial.
#[derive(Debug)]
struct Failure {
    no_addresses: bool,
    /// Someone was there, and the handshake failed.
    broke: bool,
    tried: Vec<Multiaddr>,
    reason: String,
    /// What the system said of the first address.
    cause: Option<io::Error>,
}

impl Failure {
    fn of(error: &DialError) -> Self {
        let errors = if let DialError::Transport(errors) = error { &errors[..] } else { &[] };
        Failure {
            no_addresses: matches!(error, DialError::NoAddresses),
            broke: errors.iter().any(|(_, error)| broke(error)),
            tried: errors.iter().map(|(address, _)| address.clone()).collect(),
            reason: reason(error),
            cause: errors.first().and_then(|(_, error)| root(error).downcast_ref()).map(copied),
        }
    }
}

impl Dialing {
    /// Two peers that dial each other from their listening ports at once make one TCP connection that has two dialers and no
    /// listener, whose handshake fails.
    fn again_from_fresh_port(&mut self, addresses: Vec<Multiaddr>) -> DialOpts {
        let opts = DialOpts::peer_id(self.session.peer()).condition(PeerCondition::DisconnectedAndNotDialing);
        let opts = opts.addresses(addresses).extend_addresses_through_behaviour().allocate_new_port().build();
        self.own = Some(opts.connection_id());
        self.fresh_port = true;
        opts
    }
}

impl Connections {
    pub(super) fn of(&self, peer: &PeerId) -> Vec<ConnectionId> {
        let connections = self.peers.get(peer).map(|peer| peer.connections().iter().map(|connection| connection.id()));
        connections.into_iter().flatten().collect()
    }

    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// A call needs a stream.
    pub(super) fn open(&mut self, session: Arc<PeerSession>) -> Next {
        let id = session.peer();
        if let Some(peer) = self.peers.get_mut(&id) {
            if peer.opening_on.is_some() {
                return Next::Nothing;
            }
            if let Some(connection) = peer.best().map(|best| best.id()) {
                peer.fruitless.count(session.last_used(), now());
                peer.opening_on = Some(connection);
                return Next::Open(id, connection);
            }
        }
        if self.dialing.contains_key(&id) {
            return Next::Nothing;
        }
        self.dial(session, Vec::new(), false)
    }

    /// The stream that was opened did nothing for the calls that wait: they get another, if that hasn't come to nothing too
    /// often. A peer could have streams opened for ever.
    pub(super) fn open_again(&mut self, session: Arc<PeerSession>) -> Next {
        let peer = self.peers.get_mut(&session.peer());
        if peer.is_some_and(|peer| !peer.fruitless.may_open(session.last_used(), now())) {
            let error = "the peer has said nothing on the streams that were opened to it of late";
            return Next::Fail(session, RpcError::never_sent(ErrorKind::ConnectionLost, error));
        }
        self.open(session)
    }

    fn dial(&mut self, session: Arc<PeerSession>, addresses: Vec<Multiaddr>, looked_up: bool) -> Next {
        let opts = DialOpts::peer_id(session.peer()).condition(PeerCondition::DisconnectedAndNotDialing);
        let opts = opts.addresses(addresses).extend_addresses_through_behaviour().build();
        let own = Some(opts.connection_id());
        let dialing = Dialing { session, own, failure: None, looked_up, looking_up: false, fresh_port: false };
        self.dialing.insert(dialing.session.peer(), dialing);
        Next::Dial(opts)
    }

    /// The Swarm dials the peer, for whomever.
    pub(super) fn dial_begins(&mut self, peer: PeerId, id: ConnectionId) {
        self.under_way.insert(id, peer);
    }

    /// It has been told where the peer is: a call that waits for a dial doesn't have to wait for its end.
    pub(super) fn address_told(&mut self, peer: PeerId, address: Multiaddr) -> Next {
        let Some(dialing) = self.dialing.get(&peer) else { return Next::Nothing };
        let attempts = self.dials_of(&peer);
        // A dial of our own that the Swarm has not begun yet finds it.
        if self.is_connected(&peer) || attempts >= MAX_DIALS_OF_PEER || (attempts == 0 && !dialing.looking_up) {
            return Next::Nothing;
        }
        Next::Dial(DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(vec![address]).build())
    }

    fn dials_of(&self, peer: &PeerId) -> usize {
        self.under_way.values().filter(|dialled| *dialled == peer).count()
    }

    pub(super) fn established(&mut self, peer: PeerId, connection: Arc<Connection>, session: Arc<PeerSession>) -> Next {
        self.under_way.remove(&connection.id());
        self.dialing.remove(&peer);
        let known = self.peers.entry(peer).or_insert_with(|| Peer::new(session));
        known.add(connection);
        let session = known.session.clone();
        if session.wants_stream() { self.open(session) } else { Next::Nothing }
    }

    /// A connection has ended: what waited for a stream on it waits for one on another.
    pub(super) fn closed(&mut self, id: PeerId, connection: ConnectionId) -> Next {
        let Some(peer) = self.peers.get_mut(&id) else { return Next::Nothing };
        peer.remove(connection);
        let opening = peer.opening_on.take_if(|on| *on == connection).is_some();
        let session = peer.session.clone();
        if peer.is_empty() {
            self.peers.remove(&id);
        }
        if !session.wants_stream() {
            return Next::Nothing;
        }
        if opening && !session.open_lost() {
            let error =
                RpcError::never_sent(ErrorKind::ConnectionLost, "it ended each time before a call could be sent");
            return Next::Fail(session, error);
        }
        self.open(session)
    }

    /// A connection was asked for a sign of life this long ago, and is silent. Gives what is to be done about it, and for the calls
    /// that wait for a stream on it.
    pub(super) fn silent(
        &mut self,
        id: PeerId,
        connection: ConnectionId,
        time: Duration,
        now: Instant,
    ) -> (Silence, Next) {
        let Some(peer) = self.peers.get_mut(&id) else { return (Silence::Wait, Next::Nothing) };
        let silence = peer.silent(connection, time, now);
        let Silence::Leave { to } = silence else { return (silence, Next::Nothing) };
        let next = match peer.opening_on.take_if(|on| *on == connection) {
            Some(_) => {
                peer.opening_on = Some(to);
                Next::Open(id, to)
            }
            None => Next::Nothing,
        };
        let silent = peer.connections().iter().find(|silent| silent.id() == connection);
        let moved = silent.is_some_and(|silent| peer.session.leave(silent));
        (if moved { silence } else { Silence::Wait }, next)
    }

    /// A connection is being closed: it is of no use any more.
    pub(super) fn closing(&mut self, id: &PeerId, connection: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.is_closing(connection);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&PeerId, &Arc<Connection>)> {
        self.peers.iter().flat_map(|(id, peer)| peer.connections().iter().map(move |connection| (id, connection)))
    }

    /// Another connection to a peer whose connections are silent.
    pub(super) fn dial_another(peer: PeerId) -> DialOpts {
        DialOpts::peer_id(peer).condition(PeerCondition::NotDialing).build()
    }

    /// The stream that was asked for is there, or isn't to be had.
    pub(super) fn opened(&mut self, peer: &PeerId, connection: ConnectionId) -> Option<Arc<PeerSession>> {
        let peer = self.peers.get_mut(peer)?;
        peer.opening_on.take_if(|on| *on == connection)?;
        Some(peer.session.clone())
    }

    pub(super) fn dial_failed(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        error: &DialError,
        resolver: &mut dyn Resolver,
    ) -> Next {
        self.under_way.remove(&id);
        let others = self.dials_of(&peer) > 0;
        let Some(dialing) = self.dialing.get_mut(&peer) else { return Next::Nothing };
        let own = dialing.own.take_if(|own| *own == id).is_some();
        // Someone else dials this peer: its outcome is ours.
        if matches!(error, DialError::DialPeerConditionFalse(_)) {
            return Next::Nothing;
        }
        let failure = Failure::of(error);
        if own {
            dialing.failure = Some(failure);
        } else if dialing.failure.is_none() && !others && dialing.own.is_none() && !dialing.looking_up {
            // Someone else's dial failed, which may have known fewer addresses: now it is our turn.
            let (session, looked_up) = (dialing.session.clone(), dialing.looked_up);
            return self.dial(session, failure.tried, looked_up);
        }
        if others || dialing.own.is_some() || dialing.looking_up {
            return Next::Nothing;
        }
        let Some(failure) = dialing.failure.take() else { return Next::Nothing };
        if failure.no_addresses
            && !dialing.looked_up
            && let Some(event) = resolver.look_up(peer)
        {
            dialing.looking_up = true;
            return Next::LookUp(event);
        }
        if failure.broke && !dialing.fresh_port {
            return Next::Dial(dialing.again_from_fresh_port(failure.tried));
        }
        let error = RpcError::never_sent(ErrorKind::Unreachable, failure.reason);
        let error = match failure.cause {
            Some(cause) => error.because(cause),
            None => error,
        };
        match self.dialing.remove(&peer) {
            Some(dialing) => Next::Fail(dialing.session, error),
            None => Next::Nothing,
        }
    }

    #[cfg(feature = "node")]
    pub(super) fn addresses_found(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) -> Next {
        let Some(dialing) = self.dialing.get(&peer) else { return Next::Nothing };
        if !dialing.looking_up {
            return Next::Nothing;
        }
        let session = dialing.session.clone();
        let others = self.dials_of(&peer) > 0;
        if addresses.is_empty() && others {
            let reason = "no address of it is known, and none was found".into();
            let failure = Failure { no_addresses: false, broke: false, tried: Vec::new(), reason, cause: None };
            if let Some(dialing) = self.dialing.get_mut(&peer) {
                (dialing.looking_up, dialing.looked_up, dialing.failure) = (false, true, Some(failure));
            }
            return Next::Nothing;
        }
        if addresses.is_empty() {
            self.dialing.remove(&peer);
            let error = RpcError::never_sent(ErrorKind::Unreachable, "no address of it is known, and none was found");
            return Next::Fail(session, error);
        }
        self.dial(session, addresses, true)
    }
}

/// The reason in a few words: the full error lists every address that was tried.
fn reason(error: &DialError) -> String {
    match error {
        DialError::NoAddresses => "no address of it is known".into(),
        DialError::LocalPeerId { .. } => "its address is our own".into(),
        DialError::WrongPeerId { obtained, address } => format!("at {address} is {obtained}"),
        DialError::Denied { cause } => format!("the connection was denied: {cause}"),
        DialError::Transport(errors) => match errors.first() {
            Some((address, error)) => {
                format!("{} of {} addresses failed, the first, {address}: {}", errors.len(), errors.len(), root(error))
            }
            None => "no address could be dialled".into(),
        },
        other => other.to_string(),
    }
}

/// The innermost cause: the outer ones repeat the address and the layers.
fn root<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause
}

/// The same, for an error of its own.
fn copied(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// Someone was there, and the handshake failed.
fn broke(error: &(dyn std::error::Error + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Other, UnexpectedEof};
    root(error).downcast_ref::<io::Error>().is_none_or(|error| {
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | Other | UnexpectedEof)
    })
}
