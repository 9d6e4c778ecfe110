//! What Kademlia's messages tell others of addresses.

use std::collections::HashSet;

use libp2p::kad::{self, KadPeer};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::THandlerInEvent;
use libp2p::{Multiaddr, PeerId};

use super::MAX_ADDRESSES;
use crate::membership::Scope;
use crate::node::dht::ProviderStore;

pub(super) type ToHandler = THandlerInEvent<kad::Behaviour<ProviderStore>>;

/// The message as it is sent. Whatever the routing table and the provider store hold, this is the one way out.
pub(super) fn told(local: &PeerId, mut message: ToHandler) -> ToHandler {
    match &mut message {
        ToHandler::FindNodeRes { closer_peers, .. } | ToHandler::GetRecordRes { closer_peers, .. } => {
            closer_peers.iter_mut().for_each(|peer| tell(local, peer));
        }
        ToHandler::GetProvidersRes { closer_peers, provider_peers, .. } => {
            closer_peers.iter_mut().chain(provider_peers).for_each(|peer| tell(local, peer));
        }
        ToHandler::AddProvider { provider, .. } => tell(local, provider),
        _ => {}
    }
    message
}

fn tell(local: &PeerId, peer: &mut KadPeer) {
    let own = peer.node_id == *local;
    // Where we are is the user's own word, names included. Of others we tell what they could be believed to say themselves.
    peer.multiaddrs.retain(|address| own || Scope::of(address).is_some());
    let mut seen = HashSet::new();
    peer.multiaddrs.iter_mut().for_each(strip);
    peer.multiaddrs.retain(|address| seen.insert(address.clone()));
    if !own {
        peer.multiaddrs.truncate(MAX_ADDRESSES);
    }
}

/// Who is told of a peer is told its id beside its addresses. Go nodes of 2021 can't dial an address that ends in one.
fn strip(address: &mut Multiaddr) {
    if let Some(Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
}

#[cfg(test)]
mod tests {
    use libp2p::kad::ConnectionType;

    use super::*;

    fn told_of(local: &PeerId, peer: PeerId, addresses: &[&str]) -> Vec<String> {
        let multiaddrs =
            addresses.iter().map(|text| text.parse::<Multiaddr>().unwrap().with_p2p(peer).unwrap()).collect();
        let mut peer = KadPeer { node_id: peer, multiaddrs, connection_ty: ConnectionType::Connected };
        tell(local, &mut peer);
        peer.multiaddrs.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn others_are_told_of_without_their_ids_and_only_where_they_can_be_dialled() {
        let said = ["/ip4/203.0.113.1/tcp/1", "/ip6/fe80::1/tcp/1", "/dns4/internal.example/tcp/1"];
        assert_eq!(told_of(&PeerId::random(), PeerId::random(), &said), ["/ip4/203.0.113.1/tcp/1"]);
        let many: Vec<String> = (1..50).map(|port| format!("/ip4/203.0.113.1/tcp/{port}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(told_of(&PeerId::random(), PeerId::random(), &many).len(), MAX_ADDRESSES);
    }

    #[test]
    fn where_we_are_is_told_as_the_user_gave_it_but_for_the_id() {
        let local = PeerId::random();
        let said = ["/ip4/203.0.113.1/tcp/1", "/dns4/node.example/tcp/1"];
        assert_eq!(told_of(&local, local, &said), said);
    }
}
