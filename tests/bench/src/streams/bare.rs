//! A substream of libp2p for each stream, without a protocol: TCP, Noise and Yamux.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::Behaviour;

use super::{Error, Pair};
use crate::peers::Transport;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/bench/stream/1");

fn swarm() -> Result<Swarm<Behaviour>, Error> {
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| Behaviour::new())?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build();
    Ok(swarm)
}

async fn answer(mut stream: libp2p::Stream) -> std::io::Result<()> {
    let mut asked = [0; 16];
    stream.read_exact(&mut asked).await?;
    let (count, size) = asked.split_at(8);
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("8 bytes"));
    let mut left = number(count) * number(size);
    let bytes = vec![7; 64 * 1024];
    while left > 0 {
        let now = left.min(bytes.len() as u64);
        stream.write_all(&bytes[..now as usize]).await?;
        left -= now;
    }
    stream.close().await
}

/// Two swarms; one may be far away.
pub async fn pair(far: bool) -> Result<Pair, Error> {
    let (mut server, mut client) = (swarm()?, swarm()?);
    let mut streams = server.behaviour().new_control().accept(PROTOCOL)?;
    server.listen_on(Transport::Tcp.loopback().parse()?)?;
    let mut address: Multiaddr = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = server.select_next_some().await {
            break format!("{address}/p2p/{}", server.local_peer_id()).parse()?;
        }
    };
    if far {
        address = super::far_away(&address).await?;
    }
    let peer = *server.local_peer_id();
    let serving = tokio::spawn(async move {
        while let Some((_, stream)) = streams.next().await {
            tokio::spawn(answer(stream));
        }
    });
    let control = client.behaviour().new_control();
    client.dial(address)?;
    let driving = tokio::spawn(async move {
        loop {
            futures::future::select(server.select_next_some(), client.select_next_some()).await;
        }
    });
    let stream: super::Stream = Arc::new(move |count, size| {
        let mut control = control.clone();
        Box::pin(async move {
            let mut stream = loop {
                match control.open_stream(peer, PROTOCOL).await {
                    Ok(stream) => break stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            let asked = [count.to_be_bytes(), (size as u64).to_be_bytes()].concat();
            stream.write_all(&asked).await.expect("the request");
            let (mut buffer, mut left, mut first) = (vec![0; 64 * 1024], count * size as u64, None);
            while left > 0 {
                let n = stream.read(&mut buffer).await.expect("bytes");
                assert!(n > 0, "all bytes");
                first.get_or_insert_with(Instant::now);
                left -= n as u64;
            }
            first.expect("a byte")
        })
    });
    Ok(Pair { name: "a bare substream of libp2p, TCP", stream, keep: Box::new((serving, driving)) })
}
