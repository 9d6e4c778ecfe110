//! What a node's swarm is made of.

use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{identify, memory_connection_limits};

use super::dht::kademlia::Kademlia;
use super::net::connection_limits::ConnectionLimits;
use super::net::identify::Identify;
#[cfg(feature = "mdns")]
use super::net::mdns::Nearby;
use crate::behaviour::Behaviour;
use crate::membership::Scope;

/// No new connections once this part of the machine's memory is taken by this process.
const MAX_MEMORY: f64 = 0.85;

// The limits come first: what it refuses, nobody else hears of.
#[derive(NetworkBehaviour)]
pub(super) struct NodeBehaviour {
    pub(super) connection_limits: ConnectionLimits,
    memory: memory_connection_limits::Behaviour,
    pub(super) rpc: Behaviour,
    pub(super) kademlia: Kademlia,
    identify: Identify,
    #[cfg(feature = "mdns")]
    mdns: Nearby,
}

impl NodeBehaviour {
    pub(super) fn new(
        connection_limits: ConnectionLimits,
        rpc: Behaviour,
        kademlia: Kademlia,
        keypair: &Keypair,
        protocol: String,
        scope: Scope,
        #[cfg(feature = "mdns")] mdns: Nearby,
    ) -> Self {
        let identify = identify::Config::new(protocol, keypair.public())
            .with_agent_version(concat!("p2prpc/", env!("CARGO_PKG_VERSION")).into())
            .with_push_listen_addr_updates(true)
            // What peers say of their addresses goes through discovery's filter, not straight into dials.
            .with_cache_size(0);
        NodeBehaviour {
            connection_limits,
            memory: memory_connection_limits::Behaviour::with_max_percentage(MAX_MEMORY),
            rpc,
            kademlia,
            identify: Identify::new(&identify, scope),
            #[cfg(feature = "mdns")]
            mdns,
        }
    }
}
