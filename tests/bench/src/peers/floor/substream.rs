//! Over one substream of a connection of libp2p: TCP, Noise and Yamux.

use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::Behaviour;
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::super::{Client, Error, Server, Transport};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/bench/floor/1");

fn swarm() -> Result<Swarm<Behaviour>, Error> {
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| Behaviour::new())?
        .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::from_secs(3600)))
        .build();
    Ok(swarm)
}

pub(in crate::peers) async fn serve(task_a_call: bool) -> Result<Server, Error> {
    let mut swarm = swarm()?;
    let mut streams = swarm.behaviour().new_control().accept(PROTOCOL)?;
    swarm.listen_on(Transport::Tcp.loopback().parse()?)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break format!("{address}/p2p/{}", swarm.local_peer_id());
        }
    };
    tokio::spawn(async move {
        while let Some((_, stream)) = streams.next().await {
            super::answer(stream.compat(), task_a_call);
        }
    });
    let task = tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    Ok(Server { address, keep: Box::new(task) })
}

pub(in crate::peers) async fn connect(address: &str) -> Result<Client, Error> {
    let mut swarm = swarm()?;
    let mut control = swarm.behaviour().new_control();
    swarm.dial(address.parse::<Multiaddr>()?)?;
    let peer = loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => break peer_id,
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
            _ => {}
        }
    };
    let task = tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let stream = control.open_stream(peer, PROTOCOL).await?;
    Ok(Client { echo: super::call(stream.compat()), keep: Box::new(task) })
}
