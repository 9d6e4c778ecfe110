//! The side of the behaviour that the Swarm sees.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm, NetworkBehaviour,
    NewExternalAddrOfPeer, NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::connections::{Connections, Next};
use super::core::Command;
use super::established::Silence;
use super::{Behaviour, Event, FromHandler, Handler, ToHandler};
use crate::call::Dialect;
use crate::call::Network;
use crate::clock::now;
use crate::peer::Connection;

/// A silent connection is closed after so long where streams are under way with its peer, whether there is another or not. A call waits for
/// its deadline, and the path may come back; QUIC gives it up by itself then.
const LOST_AFTER: Duration = Duration::from_secs(25);

impl Behaviour {
    pub(super) fn carry_out(&mut self, next: Next) {
        match next {
            Next::Nothing => {}
            Next::Open(peer_id, connection) => {
                self.push(ToSwarm::NotifyHandler {
                    peer_id,
                    handler: NotifyHandler::One(connection),
                    event: ToHandler::Open,
                });
            }
            Next::Dial(opts) => self.push(ToSwarm::Dial { opts }),
            Next::LookUp(event) => self.push(ToSwarm::GenerateEvent(event)),
            Next::Fail(session, error) => session.open_failed(&error),
        }
    }

    fn supported(&mut self, peer: PeerId, dialect: Dialect) {
        if self.connections.is_connected(&peer)
            && let Some(event) = self.directory.supported(self.core.members(), peer, dialect)
        {
            self.push(ToSwarm::GenerateEvent(event));
        }
    }

    /// A connection was asked for a sign of life this long ago, and is silent.
    fn silent(&mut self, peer: PeerId, connection: ConnectionId, time: Duration) {
        if self.suspected.insert(connection) {
            tracing::debug!(%peer, %connection, "a connection is silent");
            self.push(ToSwarm::GenerateEvent(Event::ConnectionSuspected { peer, connection }));
        }
        let (silence, next) = self.connections.silent(peer, connection, time, now());
        self.carry_out(next);
        let streams = self.core.session(peer);
        if matches!(silence, Silence::Wait | Silence::Dial) && time >= LOST_AFTER && streams.streams().is_busy() {
            return self.close(peer, connection, "it is silent, and streams have no deadline that would end them");
        }
        match silence {
            Silence::Wait => {}
            Silence::Leave { to } => {
                tracing::debug!(%peer, from = %connection, %to, "calls go on on another connection");
                self.push(ToSwarm::GenerateEvent(Event::ConnectionLeft { peer, from: connection, to }));
            }
            Silence::Close => self.close(peer, connection, "it is silent, and another connection to the peer is not"),
            Silence::Dial => {
                let event = self.resolver.silent(peer).map(ToSwarm::GenerateEvent);
                self.push(event.unwrap_or_else(|| ToSwarm::Dial { opts: Connections::dial_another(peer) }));
            }
        }
    }

    pub(super) fn close(&mut self, peer: PeerId, connection: ConnectionId, reason: &'static str) {
        tracing::debug!(%peer, %connection, reason, "closing a connection");
        self.connections.closing(&peer, connection);
        self.push(ToSwarm::GenerateEvent(Event::ConnectionClosing { peer, connection, reason }));
        self.push(ToSwarm::CloseConnection { peer_id: peer, connection: CloseConnection::One(connection) });
    }

    fn handler(&self, id: ConnectionId, peer: PeerId, remote: &Multiaddr, outbound: bool) -> Handler {
        let core = Arc::downgrade(&self.core);
        Handler::new(
            core,
            self.core.session(peer),
            Connection::new(id, remote.clone(), outbound, Arc::default()),
            self.protocols.clone(),
            self.ping_interval,
            self.pinned.contains(&peer),
        )
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = peer {
            self.connections.dial_begins(peer, connection);
        }
        Ok(peer.map(|peer| self.addresses.get(&peer).collect()).unwrap_or_default())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(id, peer, remote, false))
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(id, peer, remote, true))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.addresses.on_swarm_event(&event);
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                // A dialled address that works is worth keeping; an inbound one is a port that nobody listens on.
                if let ConnectedPoint::Dialer { address, .. } = established.endpoint {
                    self.addresses.add(established.peer_id, address.clone());
                }
                let (peer, id) = (established.peer_id, established.connection_id);
                let mut connections = self.core.session(peer).connections().into_iter();
                // Its task may have ended by now, and its handler be gone.
                let connection = connections.find(|connection| connection.id() == id).unwrap_or_else(|| {
                    let endpoint = established.endpoint;
                    Connection::new(id, endpoint.get_remote_address().clone(), endpoint.is_dialer(), Arc::default())
                });
                let next = self.connections.established(peer, connection, self.core.session(peer));
                self.carry_out(next);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, remaining_established, .. }) => {
                if remaining_established == 0 {
                    self.core.forget(&peer_id);
                    self.directory.disconnected(self.core.members(), &peer_id);
                }
                self.suspected.remove(&connection_id);
                let next = self.connections.closed(peer_id, connection_id);
                self.carry_out(next);
            }
            FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, connection_id }) => {
                let next = self.connections.dial_failed(peer, connection_id, error, &mut *self.resolver);
                self.carry_out(next);
            }
            FromSwarm::NewExternalAddrOfPeer(NewExternalAddrOfPeer { peer_id, addr }) => {
                let next = self.connections.address_told(peer_id, addr.clone());
                self.carry_out(next);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, told: THandlerOutEvent<Self>) {
        match told {
            FromHandler::Supported(dialect) => self.supported(peer, dialect),
            FromHandler::Opened => {
                let session = self.connections.opened(&peer, connection);
                // The stream may have ended already, with calls that wait for another.
                if let Some(session) = session.filter(|session| session.wants_stream()) {
                    let next = self.connections.open_again(session);
                    self.carry_out(next);
                }
            }
            FromHandler::OpenFailed(error) => {
                if let Some(session) = self.connections.opened(&peer, connection) {
                    session.open_failed(&error);
                }
            }
            FromHandler::Silent(time) => self.silent(peer, connection, time),
            FromHandler::Alive => {
                if self.suspected.remove(&connection) {
                    self.push(ToSwarm::GenerateEvent(Event::ConnectionRecovered { peer, connection }));
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
                Poll::Ready(Some(Command::Open(session))) => {
                    let next = self.connections.open(session);
                    self.carry_out(next);
                }
                Poll::Ready(Some(Command::Greeted(peer))) => self.supported(peer, Dialect::Native),
                Poll::Ready(Some(Command::AnsweredInGorpc(peer))) => self.supported(peer, Dialect::Gorpc),
                Poll::Ready(Some(Command::MethodDiffers(peer, method))) => {
                    self.push(ToSwarm::GenerateEvent(Event::MethodDiffers { peer, method }));
                }
                _ => {
                    self.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }
}
