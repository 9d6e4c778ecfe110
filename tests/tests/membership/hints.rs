//! A member that lies about others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libp2p::futures::StreamExt;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{identify, ping};
use p2prpc::behaviour::{Behaviour, Config};
use p2prpc::prelude::*;
use serde::{Deserialize, Serialize};

use super::support::{PATIENCE, address, all_greet_all, greeter, has_members};

#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    epoch: u64,
    version: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Description {
    shared: Vec<[u8; 32]>,
    services: Vec<String>,
    version: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    peer: Vec<u8>,
    addresses: Vec<Vec<u8>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listing {
    cursor: Cursor,
    more: bool,
    members: Vec<Listed>,
    gone: Vec<Vec<u8>>,
    description: u64,
}

/// What nodes ask each other, as it is on the wire.
#[p2p_service(name = "p2prpc-membership", internal)]
trait Membership {
    async fn describe(&self, topics: Vec<[u8; 32]>) -> Description;
    async fn list(&self, topics: Vec<[u8; 32]>, since: Cursor) -> Listing;
    async fn leaving(&self);
}

/// It is in every rendezvous, says that the others are gone, and knows a thousand that aren't there.
struct Liar {
    lists: Arc<AtomicUsize>,
    others: Vec<PeerId>,
}

impl Membership for Liar {
    async fn describe(&self, topics: Vec<[u8; 32]>) -> Description {
        Description { shared: topics, services: vec!["\u{1b}[2J".repeat(100); 2_000], version: 0 }
    }

    async fn list(&self, _: Vec<[u8; 32]>, since: Cursor) -> Listing {
        let round = self.lists.fetch_add(1, Ordering::Relaxed);
        let bytes = |address: String| address.parse::<Multiaddr>().unwrap().to_vec();
        let invented = (0..1_000).map(|n| Listed {
            peer: PeerId::random().to_bytes(),
            addresses: match (n + round) % 5 {
                0 => vec![bytes(format!("/ip4/127.0.0.1/tcp/{}", 1 + n))],
                1 => vec![bytes(format!("/ip4/10.255.255.1/tcp/{}", 1 + n)); 50],
                2 => vec![bytes("/dns4/nobody.invalid/tcp/80".into())],
                3 => vec![vec![0xff; 1_000]],
                _ => Vec::new(),
            },
        });
        Listing {
            cursor: Cursor { epoch: u64::MAX, version: since.version.wrapping_add(u64::MAX) },
            more: true,
            members: invented.chain([Listed { peer: vec![1, 2, 3], addresses: vec![] }]).collect(),
            gone: self.others.iter().map(|peer| peer.to_bytes()).collect(),
            description: round as u64,
        }
    }

    async fn leaving(&self) {}
}

#[derive(NetworkBehaviour)]
struct Raw {
    rpc: Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// A peer that is in the swarm and is no `Node`.
async fn lie_to(there: Multiaddr, liar: Liar) -> PeerId {
    let mut swarm = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(Default::default(), libp2p::noise::Config::new, libp2p::yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            let local = key.public().to_peer_id();
            let rpc = Behaviour::new(local, Config::new("/p2prpc").unwrap());
            rpc.serve_internal(MembershipServer::new(liar)).unwrap();
            let identify = identify::Behaviour::new(identify::Config::new("/lies/1".into(), key.public()));
            Raw { rpc, identify, ping: ping::Behaviour::default() }
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build();
    let peer = *swarm.local_peer_id();
    swarm.dial(there).unwrap();
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    peer
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_others_change_nothing_for_them() {
    let first = greeter().start().await.unwrap();
    let second = greeter().bootstrap([address(&first)]).start().await.unwrap();
    let (one, two) = (first.peer_id(), second.peer_id());
    has_members(&first, &[two].into(), PATIENCE).await;
    let lists = Arc::new(AtomicUsize::new(0));
    let liar = lie_to(address(&first), Liar { lists: lists.clone(), others: vec![one, two] }).await;
    has_members(&first, &[two, liar].into(), PATIENCE).await;
    let mut events = first.events();
    tokio::time::timeout(PATIENCE, async {
        while lists.load(Ordering::Relaxed) < 30 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("it is asked, again and again");
    // An honest newcomer is found meanwhile, by both and without delay.
    let third = greeter().bootstrap([address(&second)]).start().await.unwrap();
    has_members(&third, &[one, two].into(), PATIENCE).await;
    has_members(&first, &[two, third.peer_id(), liar].into(), PATIENCE).await;
    while let Some(Some(event)) = futures::FutureExt::now_or_never(events.next()) {
        assert!(!matches!(event, p2prpc::NodeEvent::PeerLeft { .. }), "nobody has left: {event:?}");
    }
    first.block(liar);
    has_members(&first, &[two, third.peer_id()].into(), PATIENCE).await;
    let rest = [first, second, third];
    all_greet_all(&rest).await;
}
