//! The side of the behaviour that the Swarm sees.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm, NetworkBehaviour, NotifyHandler,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::connections::Next;
use super::core::Command;
use super::{Ask, Behaviour, Event, Handler, Tell};
use crate::context::Dialect;
use crate::handle::Network;
use crate::members::Member;

impl Behaviour {
    pub(super) fn carry_out(&mut self, next: Next) {
        match next {
            Next::Nothing => {}
            Next::Open(peer_id, connection) => {
                self.push(ToSwarm::NotifyHandler {
                    peer_id,
                    handler: NotifyHandler::One(connection),
                    event: Ask::Open,
                });
            }
            Next::Dial(opts) => self.push(ToSwarm::Dial { opts }),
            Next::LookUp(peer) => self.push(ToSwarm::GenerateEvent(Event::AddressesWanted { peer })),
            Next::Fail(link, error) => link.open_failed(&error),
        }
    }

    fn supported(&mut self, peer: PeerId, dialect: Dialect) {
        // Whoever manages members knows of Go peers by what they say of themselves: they can't describe themselves.
        if dialect != Dialect::Native && self.members_managed {
            return;
        }
        if !self.connections.is_connected(&peer) {
            return;
        }
        if !self.members_managed {
            self.core.members().insert(peer, Member { rendezvous: Arc::default(), services: None });
        }
        self.push(ToSwarm::GenerateEvent(Event::Supported { peer }));
    }

    fn handler(&self, peer: PeerId, remote: &Multiaddr) -> Handler {
        let link = self.core.link_of(peer);
        #[cfg(feature = "gorpc")]
        let bilingual = self.core.bilingual_link_of(peer);
        let core = Arc::downgrade(&self.core);
        Handler::new(
            core,
            link,
            #[cfg(feature = "gorpc")]
            bilingual,
            ip_of(remote),
            self.protocols.clone(),
            self.pinned.contains(&peer),
        )
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Ok(peer.map(|peer| self.addresses.get(&peer).collect()).unwrap_or_default())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, remote))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, remote))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.addresses.on_swarm_event(&event);
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                // A dialled address that works is worth keeping; an inbound one is a port that nobody listens on.
                if let ConnectedPoint::Dialer { address, .. } = established.endpoint {
                    self.addresses.add(established.peer_id, address.clone());
                }
                let link = self.core.opens(established.peer_id);
                let next = self.connections.established(established.peer_id, established.connection_id, link);
                self.carry_out(next);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, remaining_established, .. }) => {
                if remaining_established == 0 {
                    self.core.forget(&peer_id);
                    if !self.members_managed {
                        self.core.members().remove(&peer_id);
                    }
                }
                let next = self.connections.closed(peer_id, connection_id);
                self.carry_out(next);
            }
            FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, connection_id }) => {
                let next = self.connections.dial_failed(peer, connection_id, error, self.look_up);
                self.carry_out(next);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, told: THandlerOutEvent<Self>) {
        match told {
            Tell::Supported(dialect) => self.supported(peer, dialect),
            Tell::Opened => {
                let link = self.connections.opened(&peer, connection);
                // The stream may have ended already, with calls that wait for another.
                if let Some(link) = link.filter(|link| link.wants_stream()) {
                    let next = self.connections.open_again(link);
                    self.carry_out(next);
                }
            }
            Tell::OpenFailed(error) => {
                if let Some(link) = self.connections.opened(&peer, connection) {
                    link.open_failed(&error);
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            match self.commands.poll_recv(cx) {
                Poll::Ready(Some(Command::Open(link))) => {
                    let next = self.connections.open(self.core.opens(link.peer()));
                    self.carry_out(next);
                }
                Poll::Ready(Some(Command::Greeted(peer))) => self.supported(peer, Dialect::Native),
                #[cfg(feature = "gorpc")]
                Poll::Ready(Some(Command::AnsweredInGorpc(peer))) => self.supported(peer, Dialect::Gorpc),
                _ => {
                    self.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    })
}
