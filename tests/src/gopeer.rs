//! A peer as Go's echo application is one: Kademlia, identify, ping, and calls by gorpc only.

use std::time::Duration;

use futures::StreamExt;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, SwarmBuilder, identify, identity, kad, noise, ping, tcp, yamux};
use p2prpc::behaviour::{Behaviour, Config};
use p2prpc::prelude::*;
use p2prpc::rendezvous_key;
use tokio::task::JoinHandle;

use crate::soon;

#[derive(NetworkBehaviour)]
struct Parts {
    rpc: Behaviour,
    kademlia: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// It runs until it is dropped, which is its sudden death.
#[derive(Debug)]
pub struct GoPeer {
    id: PeerId,
    address: Multiaddr,
    handle: Handle,
    task: JoinHandle<()>,
}

impl GoPeer {
    /// A peer of the application `protocol` that serves this, and is connected to `bootstrap`. It is found at `rendezvous` in the DHT,
    /// if one is given.
    pub async fn start(
        protocol: &str,
        service: impl Into<Service>,
        bootstrap: Option<Multiaddr>,
        rendezvous: Option<&str>,
    ) -> GoPeer {
        Self::start_as(identity::Keypair::generate_ed25519(), protocol, service, bootstrap, rendezvous).await
    }

    /// The same with a key that is given.
    pub async fn start_as(
        key: identity::Keypair,
        protocol: &str,
        service: impl Into<Service>,
        bootstrap: Option<Multiaddr>,
        rendezvous: Option<&str>,
    ) -> GoPeer {
        let mut swarm = swarm(key, protocol);
        swarm.behaviour().rpc.serve(service).expect("it is the only one");
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("loopback can be listened on");
        let address = soon("it listens", async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    break address;
                }
            }
        })
        .await;
        swarm.add_external_address(address.clone());
        if let Some(bootstrap) = bootstrap {
            swarm.dial(bootstrap).expect("it can be dialled");
        }
        let (id, handle) = (*swarm.local_peer_id(), swarm.behaviour().rpc.handle());
        let task = tokio::spawn(drive(swarm, rendezvous.map(str::to_owned)));
        GoPeer { id, address, handle, task }
    }

    /// Its peer id.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Where it listens, with its id.
    pub fn address(&self) -> Multiaddr {
        self.address.clone().with_p2p(self.id).expect("its own id")
    }

    /// What its clients are made from.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for GoPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn swarm(key: identity::Keypair, protocol: &str) -> Swarm<Parts> {
    let config = Config::new(protocol).expect("a valid protocol id").only_gorpc();
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .expect("TCP works")
        .with_behaviour(|key| {
            let id = key.public().to_peer_id();
            let kad_config = kad::Config::new(StreamProtocol::new("/ipfs/kad/1.0.0"));
            let mut kademlia = kad::Behaviour::with_config(id, MemoryStore::new(id), kad_config);
            kademlia.set_mode(Some(kad::Mode::Client));
            Parts {
                rpc: Behaviour::new(id, config),
                kademlia,
                identify: identify::Behaviour::new(identify::Config::new("ipfs/0.1.0".into(), key.public())),
                ping: ping::Behaviour::default(),
            }
        })
        .expect("it can't fail")
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build()
}

/// Provides once it knows a node of the DHT.
async fn drive(mut swarm: Swarm<Parts>, rendezvous: Option<String>) {
    loop {
        let event = swarm.select_next_some().await;
        let SwarmEvent::Behaviour(PartsEvent::Identify(identify::Event::Received { peer_id, info, .. })) = event else {
            continue;
        };
        for address in info.listen_addrs {
            swarm.behaviour_mut().kademlia.add_address(&peer_id, address);
        }
        if let Some(rendezvous) = &rendezvous {
            let key = rendezvous_key(rendezvous).into();
            let _ = swarm.behaviour_mut().kademlia.start_providing(key);
        }
    }
}
