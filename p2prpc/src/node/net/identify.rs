//! libp2p's identify, which tells a peer only where it could reach us: no addresses of a local network to the internet, and none of
//! this machine to others.

use std::collections::HashMap;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionEstablished, ExternalAddrConfirmed};
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, ExpiredListenAddr, ExternalAddrExpired, FromSwarm,
    NetworkBehaviour, NewListenAddr, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, identify};

use crate::membership::Scope;

const SCOPES: [Scope; 3] = [Scope::Public, Scope::Private, Scope::Loopback];

/// One behaviour of libp2p's for the connections from each scope: it tells all of its connections the same.
pub(in crate::node) struct Identify {
    scoped: [identify::Behaviour; 3],
    connections: HashMap<ConnectionId, usize>,
    /// Of those whose address doesn't say: names, which the user dialled.
    fallback: Scope,
}

/// Which one tells those that are connected from there.
fn place(remote: &Multiaddr, fallback: Scope) -> usize {
    match Scope::of_remote(remote).unwrap_or(fallback) {
        Scope::Public => 0,
        Scope::Private => 1,
        Scope::Loopback => 2,
    }
}

/// May one that is connected from so far be told that we listen there?
fn may_hear(from: Scope, listen: &Multiaddr) -> bool {
    Scope::of(listen).is_some_and(|scope| scope <= from)
}

/// The same of an address that the user gave. Names mean the same to all.
fn may_hear_external(from: Scope, external: &Multiaddr) -> bool {
    Scope::of(external).is_none_or(|scope| scope <= from)
}

impl Identify {
    pub(in crate::node) fn new(config: &identify::Config, fallback: Scope) -> Self {
        let scoped = SCOPES.map(|_| identify::Behaviour::new(config.clone()));
        Identify { scoped, connections: HashMap::new(), fallback }
    }

    fn for_connection(&mut self, connection: ConnectionId) -> &mut identify::Behaviour {
        let place = self.connections.get(&connection).copied().unwrap_or_default();
        &mut self.scoped[place]
    }

    fn tell(&mut self, event: FromSwarm<'_>, who: impl Fn(Scope) -> bool) {
        for (scoped, scope) in self.scoped.iter_mut().zip(SCOPES) {
            if who(scope) {
                scoped.on_swarm_event(event);
            }
        }
    }
}

impl NetworkBehaviour for Identify {
    type ConnectionHandler = THandler<identify::Behaviour>;
    type ToSwarm = identify::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.scoped[place(remote, self.fallback)].handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.scoped[place(address, self.fallback)]
            .handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, endpoint, .. }) => {
                self.connections.insert(*connection_id, place(endpoint.get_remote_address(), self.fallback));
                self.for_connection(*connection_id).on_swarm_event(event);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.for_connection(*connection_id).on_swarm_event(event);
                self.connections.remove(connection_id);
            }
            FromSwarm::NewListenAddr(NewListenAddr { addr, .. })
            | FromSwarm::ExpiredListenAddr(ExpiredListenAddr { addr, .. }) => {
                self.tell(event, |scope| may_hear(scope, addr));
            }
            FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr })
            | FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }) => {
                self.tell(event, |scope| may_hear_external(scope, addr));
            }
            _ => self.tell(event, |_| true),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.for_connection(connection).on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let ready = self.scoped.iter_mut().find_map(|scoped| match scoped.poll(cx) {
            Poll::Ready(ready) => Some(ready),
            Poll::Pending => None,
        });
        ready.map_or(Poll::Pending, Poll::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hears_where_it_could_reach_us() {
        let heard = |may: fn(Scope, &Multiaddr) -> bool, address: &str| {
            let address: Multiaddr = address.parse().unwrap();
            SCOPES.map(|scope| may(scope, &address))
        };
        assert_eq!(heard(may_hear, "/ip4/203.0.113.1/tcp/1"), [true, true, true]);
        assert_eq!(heard(may_hear, "/ip4/192.168.1.2/udp/1/quic-v1"), [false, true, true]);
        assert_eq!(heard(may_hear, "/ip6/::1/tcp/1"), [false, false, true]);
        assert_eq!(heard(may_hear, "/ip6/fe80::1/tcp/1"), [false, false, false]);
        assert_eq!(heard(may_hear_external, "/dns4/node.example/tcp/1"), [true, true, true]);
        assert_eq!(heard(may_hear_external, "/ip4/10.0.0.1/tcp/1"), [false, true, true]);
    }

    #[test]
    fn connections_are_told_apart_by_where_they_come_from() {
        let from = |address: &str| SCOPES[place(&address.parse().unwrap(), Scope::Private)];
        assert_eq!(from("/ip4/203.0.113.1/tcp/1"), Scope::Public);
        assert_eq!(from("/ip6/fe80::1/udp/1/quic-v1"), Scope::Private);
        assert_eq!(from("/ip4/127.0.0.1/tcp/1"), Scope::Loopback);
        assert_eq!(from("/dns4/node.example/tcp/1"), Scope::Private);
    }
}
