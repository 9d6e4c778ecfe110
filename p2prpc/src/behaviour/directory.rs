//! What a [`Behaviour`](super::Behaviour) is told of peers by those who own it: who is a member, and where a peer is.

use std::fmt;
use std::sync::Arc;

use libp2p::PeerId;

use super::Event;
use crate::call::Dialect;
use crate::members::{Member, Members};

/// Who is a member.
pub(crate) trait Directory: fmt::Debug + Send {
    /// A connected peer speaks the application's protocol, in this dialect. What is to be said of it, if anything.
    fn supported(&mut self, members: &Members, peer: PeerId, dialect: Dialect) -> Option<Event>;

    /// The last connection of a peer has ended.
    fn disconnected(&mut self, members: &Members, peer: &PeerId);
}

/// The members are those who are connected and speak the protocol.
#[derive(Debug)]
pub(super) struct ConnectedPeers;

impl Directory for ConnectedPeers {
    fn supported(&mut self, members: &Members, peer: PeerId, _: Dialect) -> Option<Event> {
        members.insert(peer, Member { rendezvous: Arc::default(), services: None, methods: Arc::default() });
        Some(Event::Supported { peer })
    }

    fn disconnected(&mut self, members: &Members, peer: &PeerId) {
        members.remove(peer);
    }
}

/// Where a peer is, beside what the Swarm's behaviours know.
pub(crate) trait Resolver: fmt::Debug + Send {
    /// What asks for the addresses of a peer that a call waits for. The answer is
    /// [`Behaviour::addresses_found`](super::Behaviour::addresses_found); `None` if nobody knows more.
    fn look_up(&mut self, peer: PeerId) -> Option<Event>;

    /// What asks for another connection to a peer whose connections are silent; `None` if it is to be dialled where it is known to be.
    fn silent(&mut self, peer: PeerId) -> Option<Event>;
}

/// What the Swarm's behaviours know is all there is.
#[derive(Debug)]
pub(super) struct KnownAddresses;

impl Resolver for KnownAddresses {
    fn look_up(&mut self, _: PeerId) -> Option<Event> {
        None
    }

    fn silent(&mut self, _: PeerId) -> Option<Event> {
        None
    }
}
