//! Which connections there are, which dials are under way, and on which connection a call stream is opened.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use std::{fmt, io};

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};

use super::opens::Fruitless;
#[cfg(feature = "gorpc")]
use crate::connection::BilingualLink;
use crate::connection::PeerLink;
use crate::error::{ErrorKind, RpcError};

/// The way to a peer, which needs a stream now and then.
pub(super) trait Opens: fmt::Debug + Send + Sync {
    fn peer(&self) -> PeerId;
    /// True while calls wait for a stream to be opened.
    fn wants_stream(&self) -> bool;
    /// When the peer last said something on a stream.
    fn last_heard(&self) -> Option<Instant>;
    /// The connection ended on which a stream was being opened. True if that is worth another try.
    fn open_lost(&self) -> bool;
    /// No stream could be opened.
    fn open_failed(&self, error: &RpcError);
}

impl Opens for PeerLink {
    fn peer(&self) -> PeerId {
        self.peer()
    }

    fn wants_stream(&self) -> bool {
        self.wants_stream()
    }

    fn last_heard(&self) -> Option<Instant> {
        self.last_heard()
    }

    fn open_lost(&self) -> bool {
        self.open_lost()
    }

    fn open_failed(&self, error: &RpcError) {
        self.open_failed(error);
    }
}

#[cfg(feature = "gorpc")]
impl Opens for BilingualLink {
    fn peer(&self) -> PeerId {
        self.peer()
    }

    fn wants_stream(&self) -> bool {
        self.wants_stream()
    }

    fn last_heard(&self) -> Option<Instant> {
        self.last_heard()
    }

    fn open_lost(&self) -> bool {
        self.open_lost()
    }

    fn open_failed(&self, error: &RpcError) {
        self.open_failed(error);
    }
}

/// What is to be done next for a call that waits.
#[derive(Debug)]
pub(super) enum Next {
    Nothing,
    Open(PeerId, ConnectionId),
    Dial(DialOpts),
    LookUp(PeerId),
    Fail(Arc<dyn Opens>, RpcError),
}

#[derive(Debug, Default)]
pub(super) struct Connections {
    peers: HashMap<PeerId, Peer>,
    dialing: HashMap<PeerId, Dialing>,
}

#[derive(Debug)]
struct Peer {
    link: Arc<dyn Opens>,
    /// The oldest first.
    connections: Vec<ConnectionId>,
    opening_on: Option<ConnectionId>,
    fruitless: Fruitless,
}

#[derive(Debug)]
struct Dialing {
    link: Arc<dyn Opens>,
    /// Our own dial; `None` while someone else's is under way, or addresses are looked up.
    own: Option<ConnectionId>,
    looked_up: bool,
    looking_up: bool,
    /// It is the second dial, from a port of its own.
    fresh_port: bool,
}

impl Dialing {
    /// Two peers that dial each other from their listening ports at once make one TCP connection that has two dialers and no
    /// listener, whose handshake fails.
    fn again_from_fresh_port(&mut self, addresses: Vec<Multiaddr>) -> DialOpts {
        let opts = DialOpts::peer_id(self.link.peer()).condition(PeerCondition::DisconnectedAndNotDialing);
        let opts = opts.addresses(addresses).extend_addresses_through_behaviour().allocate_new_port().build();
        self.own = Some(opts.connection_id());
        self.fresh_port = true;
        opts
    }
}

impl Connections {
    pub(super) fn of(&self, peer: &PeerId) -> Vec<ConnectionId> {
        self.peers.get(peer).map(|peer| peer.connections.clone()).unwrap_or_default()
    }

    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// A call needs a stream.
    pub(super) fn open(&mut self, link: Arc<dyn Opens>) -> Next {
        let id = link.peer();
        if let Some(peer) = self.peers.get_mut(&id) {
            return match (peer.opening_on, peer.connections.first()) {
                (None, Some(connection)) => {
                    peer.fruitless.count(link.last_heard(), Instant::now());
                    peer.opening_on = Some(*connection);
                    Next::Open(id, *connection)
                }
                _ => Next::Nothing,
            };
        }
        if self.dialing.contains_key(&id) {
            return Next::Nothing;
        }
        self.dial(link, Vec::new(), false)
    }

    /// The stream that was opened did nothing for the calls that wait: they get another, if that hasn't come to nothing too
    /// often. A peer could have streams opened for ever.
    pub(super) fn open_again(&mut self, link: Arc<dyn Opens>) -> Next {
        let peer = self.peers.get_mut(&link.peer());
        if peer.is_some_and(|peer| !peer.fruitless.may_open(link.last_heard(), Instant::now())) {
            let error = "the peer has said nothing on the streams that were opened to it of late";
            return Next::Fail(link, RpcError::never_sent(ErrorKind::ConnectionLost, error));
        }
        self.open(link)
    }

    fn dial(&mut self, link: Arc<dyn Opens>, addresses: Vec<Multiaddr>, looked_up: bool) -> Next {
        let opts = DialOpts::peer_id(link.peer()).condition(PeerCondition::DisconnectedAndNotDialing);
        let opts = opts.addresses(addresses).extend_addresses_through_behaviour().build();
        let own = Some(opts.connection_id());
        let dialing = Dialing { link, own, looked_up, looking_up: false, fresh_port: false };
        self.dialing.insert(dialing.link.peer(), dialing);
        Next::Dial(opts)
    }

    pub(super) fn established(&mut self, peer: PeerId, connection: ConnectionId, link: Arc<dyn Opens>) -> Next {
        self.dialing.remove(&peer);
        let new = || Peer { link, connections: Vec::new(), opening_on: None, fruitless: Fruitless::default() };
        let known = self.peers.entry(peer).or_insert_with(new);
        known.connections.push(connection);
        let link = known.link.clone();
        if link.wants_stream() { self.open(link) } else { Next::Nothing }
    }

    /// A connection has ended: what waited for a stream on it waits for one on another.
    pub(super) fn closed(&mut self, id: PeerId, connection: ConnectionId) -> Next {
        let Some(peer) = self.peers.get_mut(&id) else { return Next::Nothing };
        peer.connections.retain(|other| *other != connection);
        let opening = peer.opening_on.take_if(|on| *on == connection).is_some();
        let link = peer.link.clone();
        if peer.connections.is_empty() {
            self.peers.remove(&id);
        }
        if !link.wants_stream() {
            return Next::Nothing;
        }
        if opening && !link.open_lost() {
            let error =
                RpcError::never_sent(ErrorKind::ConnectionLost, "it ended each time before a call could be sent");
            return Next::Fail(link, error);
        }
        self.open(link)
    }

    /// The stream that was asked for is there, or isn't to be had.
    pub(super) fn opened(&mut self, peer: &PeerId, connection: ConnectionId) -> Option<Arc<dyn Opens>> {
        let peer = self.peers.get_mut(peer)?;
        peer.opening_on.take_if(|on| *on == connection)?;
        Some(peer.link.clone())
    }

    pub(super) fn dial_failed(&mut self, peer: PeerId, id: ConnectionId, error: &DialError, look_up: bool) -> Next {
        let Some(dialing) = self.dialing.get_mut(&peer) else { return Next::Nothing };
        let own = dialing.own == Some(id);
        match error {
            // Someone else dials this peer: its outcome is ours.
            DialError::DialPeerConditionFalse(_) => {
                if own {
                    dialing.own = None;
                }
                Next::Nothing
            }
            // Someone else's dial failed, which may have known fewer addresses: now it is our turn.
            _ if !own && dialing.own.is_none() && !dialing.looking_up => {
                let (link, looked_up) = (dialing.link.clone(), dialing.looked_up);
                let addresses = if let DialError::Transport(errors) = error { tried(errors) } else { Vec::new() };
                self.dial(link, addresses, looked_up)
            }
            _ if !own => Next::Nothing,
            DialError::NoAddresses if look_up && !dialing.looked_up => {
                dialing.own = None;
                dialing.looking_up = true;
                Next::LookUp(peer)
            }
            DialError::Transport(errors) if !dialing.fresh_port && errors.iter().any(|(_, error)| broke(error)) => {
                Next::Dial(dialing.again_from_fresh_port(tried(errors)))
            }
            error => {
                let error = RpcError::never_sent(ErrorKind::Unreachable, reason(error));
                match self.dialing.remove(&peer) {
                    Some(dialing) => Next::Fail(dialing.link, error),
                    None => Next::Nothing,
                }
            }
        }
    }

    #[cfg(feature = "node")]
    pub(super) fn addresses_found(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) -> Next {
        let Some(dialing) = self.dialing.get(&peer) else { return Next::Nothing };
        if !dialing.looking_up {
            return Next::Nothing;
        }
        let link = dialing.link.clone();
        if addresses.is_empty() {
            self.dialing.remove(&peer);
            let error = RpcError::never_sent(ErrorKind::Unreachable, "no address of it is known, and none was found");
            return Next::Fail(link, error);
        }
        self.dial(link, addresses, true)
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

/// The addresses of a dial that failed, which nobody remembers any more.
fn tried<E>(errors: &[(Multiaddr, E)]) -> Vec<Multiaddr> {
    errors.iter().map(|(address, _)| address.clone()).collect()
}

/// Someone was there, and the handshake failed.
fn broke(error: &(dyn std::error::Error + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Other, UnexpectedEof};
    root(error).downcast_ref::<io::Error>().is_none_or(|error| {
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | Other | UnexpectedEof)
    })
}
