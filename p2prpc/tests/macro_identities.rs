//! The types that every peer-to-peer service passes around travel with each codec, and are short where a codec has no names.

#![allow(missing_docs)]

use std::collections::BTreeMap;

use p2prpc::prelude::*;

#[p2p_service(gorpc = "Directory")]
trait Directory {
    async fn peer(&self, peer: PeerId) -> PeerId;
    async fn address(&self, address: Multiaddr) -> Multiaddr;
    async fn all(&self, peers: Vec<PeerId>, of: BTreeMap<PeerId, Vec<Multiaddr>>) -> Option<(PeerId, Multiaddr)>;
    async fn fails(&self, peer: PeerId) -> Result<(), PeerId>;
}

struct Known;

impl Directory for Known {
    async fn peer(&self, peer: PeerId) -> PeerId {
        peer
    }

    async fn address(&self, address: Multiaddr) -> Multiaddr {
        address
    }

    async fn all(&self, peers: Vec<PeerId>, of: BTreeMap<PeerId, Vec<Multiaddr>>) -> Option<(PeerId, Multiaddr)> {
        Some((*peers.first()?, of.get(peers.first()?)?.first()?.clone()))
    }

    async fn fails(&self, peer: PeerId) -> Result<(), PeerId> {
        Err(peer)
    }
}

#[test]
fn they_are_short_where_a_codec_has_no_names() {
    let peer = PeerId::random();
    for codec in CodecId::supported().iter().filter(|codec| **codec != CodecId::JSON) {
        let mut bytes = Vec::new();
        p2prpc::codec::encode(*codec, &peer, &mut bytes, 1024).unwrap();
        assert!(bytes.len() <= peer.to_bytes().len() + 2, "{codec:?}: {} bytes", bytes.len());
    }
}

#[tokio::test]
async fn peer_ids_and_addresses_travel_with_each_codec() {
    let peer = PeerId::random();
    let address: Multiaddr = format!("/ip4/127.0.0.1/udp/4001/quic-v1/p2p/{peer}").parse().unwrap();
    for codec in CodecId::supported() {
        let client = DirectoryClient::local(Known).codec(*codec);
        let stub = client.peer(client.local_peer_id().unwrap());
        assert_eq!(stub.peer(peer).await.unwrap(), peer, "{codec:?}");
        assert_eq!(stub.address(address.clone()).await.unwrap(), address, "{codec:?}");
        let of = BTreeMap::from([(peer, vec![address.clone()])]);
        assert_eq!(stub.all(vec![peer], of).await.unwrap(), Some((peer, address.clone())), "{codec:?}");
        assert_eq!(stub.fails(peer).await.unwrap_err().application(), Some(&peer), "{codec:?}");
    }
}
