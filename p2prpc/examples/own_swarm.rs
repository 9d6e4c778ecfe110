//! Calls over a libp2p Swarm of one's own: `Behaviour` beside Kademlia and identify, without `Node`.

use std::error::Error;

use libp2p::futures::StreamExt;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Swarm, SwarmBuilder, identify, kad, noise, tcp, yamux};
use p2prpc::behaviour::{Behaviour, Config};
use p2prpc::prelude::*;

#[p2p_service]
trait Greeter {
    /// Greet someone by name.
    async fn greet(&self, name: String) -> String;

    /// Spell a name, a letter at a time.
    async fn spell(&self, name: String) -> impl Stream<Item = char>;
}

struct Polite;

impl Greeter for Polite {
    async fn greet(&self, name: String) -> String {
        format!("Hello, {name}!")
    }

    async fn spell(&self, name: String) -> impl Stream<Item = char> {
        libp2p::futures::stream::iter(name.chars().collect::<Vec<_>>())
    }
}

#[derive(NetworkBehaviour)]
struct Composed {
    kad: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
    rpc: Behaviour,
}

fn swarm() -> Result<Swarm<Composed>, Box<dyn Error>> {
    let config = Config::new("/greeter")?;
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| {
            let local = key.public().to_peer_id();
            let mut kad = kad::Behaviour::new(local, MemoryStore::new(local));
            kad.set_mode(Some(kad::Mode::Server));
            let identify = identify::Behaviour::new(identify::Config::new("/greeter/id".into(), key.public()));
            Composed { kad, identify, rpc: Behaviour::new(local, config) }
        })?
        .build();
    Ok(swarm)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut server = swarm()?;
    server.behaviour().rpc.serve(GreeterServer::new(Polite))?;
    server.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = server.select_next_some().await {
            break address;
        }
    };
    let peer = *server.local_peer_id();
    tokio::spawn(async move {
        loop {
            server.select_next_some().await;
        }
    });

    let mut caller = swarm()?;
    let client = GreeterClient::new(caller.behaviour().rpc.handle());
    // Where the peer is comes from any behaviour of the Swarm: here from Kademlia's routing table. The call dials it.
    caller.behaviour_mut().kad.add_address(&peer, address);
    tokio::spawn(async move {
        loop {
            caller.select_next_some().await;
        }
    });

    println!("{}", client.peer(peer).greet("Ada".into()).await?);
    println!("{:?}", client.peer(peer).spell("Ada".into()).collect_all().await?);
    // Once identify has said what the other speaks, it is one of `all`.
    client.wait_for(1).await?;
    for (_peer, reply) in client.greet_all("everyone".into()).await {
        println!("{}", reply?);
    }
    Ok(())
}
