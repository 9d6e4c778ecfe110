//! Connections that fall silent, and changes of this machine's own addresses.

use std::net::IpAddr;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use super::Driver;
use crate::behaviour::Event;
use crate::membership::Input;
use crate::node::event::NodeEvent;
use crate::node::net::closed_port;
use crate::node::net::interfaces::{Change, local_ip};

const ADDRESS_GONE: &str = "its local address is gone";
const PORT_CLOSED: &str = "it is silent, and nobody listens at the other end any more";

impl Driver {
    pub(super) fn note_local_ip(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        if let Some(ip) = local_ip(endpoint) {
            self.local_ips.insert(connection, (peer, ip));
        }
    }

    pub(super) fn on_change(&mut self, change: Change) {
        if let Change::Down(ip) = change {
            self.address_gone(ip);
        }
        self.swarm.behaviour().rpc.check_connections();
        self.feed(Input::NetworkChanged);
    }

    fn address_gone(&mut self, ip: IpAddr) {
        tracing::info!(%ip, "a local address is gone");
        self.announcer.announce(NodeEvent::LocalAddressGone { ip });
        let bound: Vec<_> =
            self.local_ips.iter().filter(|(_, (_, local))| *local == ip).map(|(id, (peer, _))| (*peer, *id)).collect();
        for (peer, connection) in bound {
            self.swarm.behaviour_mut().rpc.close_connection(peer, connection, ADDRESS_GONE);
        }
    }

    /// If its process is gone, that can be known at once. Only where we reached it ourselves, or it says that it listens: a router in
    /// between answers for its own ports.
    fn ask_port(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(address) = self.address_of(peer, connection) else { return };
        if self.discovery.is_at(&peer, &address) || self.swarm.behaviour().rpc.is_outbound(connection) {
            self.asking_ports
                .spawn(async move { closed_port::is_closed(&address).await.then_some((peer, connection)) });
        }
    }

    /// Its machine says that nobody is there any more.
    pub(super) fn port_is_closed(&mut self, peer: PeerId, connection: ConnectionId) {
        self.swarm.behaviour_mut().rpc.close_connection(peer, connection, PORT_CLOSED);
    }

    /// Where the other end of a connection is.
    fn address_of(&self, peer: PeerId, connection: ConnectionId) -> Option<Multiaddr> {
        let connections = self.core.connections_with(&peer);
        connections.iter().find(|known| known.id() == connection).map(|known| known.remote().clone())
    }

    fn suspected(&self, peer: PeerId, connection: ConnectionId, is: bool) {
        if let Some(address) = self.address_of(peer, connection) {
            self.announcer.suspected(peer, address, is);
        }
    }

    pub(super) fn on_rpc(&mut self, event: Event) {
        let event = match event {
            Event::Supported { peer } => {
                self.peer_admits(peer);
                return self.feed(Input::Supported { peer });
            }
            Event::AddressesWanted { peer } => return self.feed(Input::AddressesWanted { peer }),
            Event::Silent { peer } => return self.feed(Input::Silent { peer }),
            Event::MethodDiffers { peer, method } => return self.announcer.method_differs(peer, method),
            Event::ConnectionSuspected { peer, connection } => {
                self.ask_port(peer, connection);
                return self.suspected(peer, connection, true);
            }
            Event::ConnectionRecovered { peer, connection } => return self.suspected(peer, connection, false),
            Event::ConnectionLeft { peer, from, to } => {
                let addresses = self.address_of(peer, from).zip(self.address_of(peer, to));
                addresses.map(|(from, to)| NodeEvent::ConnectionMoved { peer, from, to })
            }
            Event::ConnectionClosing { peer, connection, reason } => {
                let address = self.address_of(peer, connection);
                address.map(|address| NodeEvent::ConnectionClosed { peer, address, reason: reason.into() })
            }
        };
        if let Some(event) = event {
            self.announcer.announce(event);
        }
    }
}
