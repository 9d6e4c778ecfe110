//! What happens in the swarm.

use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, identify};

use super::Driver;
use super::dial;
use crate::membership::Input;
use crate::networks::ip_of;
use crate::node::behaviour::NodeBehaviourEvent;

/// Of what a peer says of itself, no more is looked at.
const MAX_SAID: usize = 256;
/// Of our own addresses no more are told to the DHT; readers keep fewer.
const MAX_TOLD: usize = 16;

impl Driver {
    pub(super) fn on_event(&mut self, event: SwarmEvent<NodeBehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id: peer, connection_id, endpoint, num_established, .. } => {
                self.note_local_ip(peer, connection_id, &endpoint);
                let address = endpoint.get_remote_address().clone();
                let (outbound, first) = (endpoint.is_dialer(), num_established.get() == 1);
                self.count_inbound(&endpoint);
                self.fresh.add(connection_id, peer);
                self.connection_made(peer, connection_id, outbound.then_some(&address));
                self.feed(Input::Connected { peer, address, outbound, first });
            }
            SwarmEvent::ConnectionClosed { peer_id: peer, connection_id, num_established, cause, endpoint } => {
                self.announcer.connection_ended(peer, endpoint.get_remote_address(), num_established == 0);
                self.local_ips.remove(&connection_id);
                tracing::debug!(%peer, connection = %connection_id, ?cause, left = num_established, "a connection was closed");
                let refused = self.fresh.ended(connection_id, cause.as_ref());
                self.connection_ended(peer, connection_id, refused, num_established == 0);
                if num_established == 0 {
                    self.feed(if refused { Input::RefusedUs { peer } } else { Input::Disconnected { peer } });
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id, connection_id, error } => {
                self.dial_ended(peer_id, connection_id, &error);
            }
            SwarmEvent::IncomingConnectionError { peer_id: peer, send_back_addr: from, error, .. } => {
                tracing::debug!(?peer, %from, error = dial::root(&error), "an inbound connection failed");
            }
            SwarmEvent::NewListenAddr { address, .. } => self.listening(&address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.listening_ended(&address),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                if let Err(error) = reason {
                    tracing::warn!(?addresses, %error, "the node has stopped listening");
                }
                for address in &addresses {
                    self.listening_ended(address);
                }
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: NodeBehaviourEvent) {
        match event {
            NodeBehaviourEvent::Rpc(event) => self.on_rpc(event),
            NodeBehaviourEvent::Kademlia(input) => self.feed(input),
            NodeBehaviourEvent::Identify(identify::Event::Received { peer_id: peer, connection_id, mut info }) => {
                self.admitted(connection_id);
                info.listen_addrs.truncate(MAX_SAID);
                info.protocols.truncate(MAX_SAID);
                let (listen_addresses, protocols) = (info.listen_addrs, info.protocols);
                self.feed(Input::Identified { peer, listen_addresses, protocols });
            }
            #[cfg(feature = "mdns")]
            NodeBehaviourEvent::Mdns(seen) => {
                for (peer, addresses) in seen {
                    self.feed(Input::SeenNearby { peer, addresses });
                }
            }
            NodeBehaviourEvent::Identify(_) => {}
        }
    }

    fn count_inbound(&mut self, endpoint: &ConnectedPoint) {
        if let ConnectedPoint::Listener { local_addr, .. } = endpoint {
            let at = self.own_addresses.contains(local_addr).then(|| local_addr.clone());
            *self.inbound.entry(at).or_default() += 1;
        }
    }

    fn listening(&mut self, address: &Multiaddr) {
        if is_link_local(address) {
            return;
        }
        self.announcer.listening(address);
        self.own_addresses.push(address.clone());
        self.tell_own_addresses();
        if !is_loopback(address) {
            self.feed(Input::NetworkChanged);
        }
        self.network_changed();
    }

    fn listening_ended(&mut self, address: &Multiaddr) {
        self.announcer.listening_ended(address);
        self.own_addresses.retain(|own| own != address);
        self.tell_own_addresses();
    }

    /// Not every bridge of every container: Kademlia has room for a few addresses, and would forget those that came first.
    fn tell_own_addresses(&mut self) {
        if !self.listens_openly {
            return;
        }
        let mut told = self.networks.own_ordered(self.own_addresses.clone());
        told.truncate(MAX_TOLD);
        let before: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        for old in before.iter().filter(|old| !told.contains(old)) {
            self.swarm.remove_external_address(old);
        }
        // The one that is added last, or again, is told first.
        for address in told.into_iter().rev() {
            self.swarm.add_external_address(address);
        }
        self.addresses_changed();
    }

    fn network_changed(&mut self) {
        if self.started {
            self.feed(Input::NetworkChanged);
        }
    }

    pub(super) fn addresses_changed(&mut self) {
        let reachable = self.swarm.external_addresses().next().is_some();
        self.feed(Input::OwnAddressesChanged { reachable });
    }
}

fn is_loopback(address: &Multiaddr) -> bool {
    ip_of(address).is_some_and(|ip| ip.is_loopback())
}

/// An IPv6 address that means nothing without the name of an interface, which a multiaddr doesn't have.
fn is_link_local(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Ip6(ip)) if ip.is_unicast_link_local())
}
