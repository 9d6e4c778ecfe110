//! Swarms without p2prpc: the floor that it stands on.

pub(super) mod company;
pub(super) mod once;

use std::time::Duration;

use futures::StreamExt;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, SwarmBuilder, noise, tcp, yamux};

use super::Error;
use super::nodes::Carrier;

/// A swarm on the transports of a node of p2prpc: TCP with Noise and Yamux, and QUIC.
pub(super) fn swarm<B: NetworkBehaviour>(behaviour: impl FnOnce(&Keypair) -> B) -> Result<Swarm<B>, Error> {
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_quic()
        .with_behaviour(|keypair| behaviour(keypair))
        .map_err(|never| match never {})?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(Duration::from_secs(3600))
                .with_substream_upgrade_protocol_override(Version::V1Lazy)
        })
        .build();
    Ok(swarm)
}

/// Listens on loopback, and says where.
pub(super) async fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>, carrier: Carrier) -> Result<Multiaddr, Error> {
    swarm.listen_on(carrier.loopback().parse()?)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return Ok(address);
        }
    }
}
