//! Peers on the local network: libp2p's mDNS, whose word is a hint like any other.

use std::collections::BTreeMap;
use std::io;
use std::task::{Context, Poll, ready};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::mdns::{Config, Event, tokio::Behaviour};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

/// Who was seen, and where.
pub(in crate::node) type Seen = BTreeMap<PeerId, Vec<Multiaddr>>;

/// Only tells who was seen. Used as it is, libp2p's behaviour would have everything dialled that anybody on the network says.
pub(in crate::node) struct Nearby(Option<Behaviour>);

impl Nearby {
    pub(in crate::node) fn new(local: PeerId, on: bool) -> io::Result<Self> {
        Ok(Nearby(if on { Some(Behaviour::new(Config::default(), local)?) } else { None }))
    }
}

impl NetworkBehaviour for Nearby {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Seen;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let Some(mdns) = &mut self.0 {
            mdns.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let Some(mdns) = &mut self.0 else { return Poll::Pending };
        loop {
            if let ToSwarm::GenerateEvent(Event::Discovered(found)) = ready!(mdns.poll(cx)) {
                let mut seen = Seen::new();
                for (peer, address) in found {
                    seen.entry(peer).or_default().push(address);
                }
                return Poll::Ready(ToSwarm::GenerateEvent(seen));
            }
        }
    }
}
