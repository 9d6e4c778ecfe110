//! From nothing to the first answer: dialling, handshake, negotiation, call.
//!
//! The clock starts before the call, when the client has been started, listens and knows the address; it stops at the answer. Each
//! call is of a client with an identity of its own; the server stays. Three take turns: a node of p2prpc, which also makes itself
//! known to Kademlia and to identify on each connection; a swarm with nothing but p2prpc's behaviour; and a bare swarm, which does no
//! more than it must: the same transport, one stream, one echo of the same bytes.

use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::Swarm;
use p2prpc::behaviour::{Behaviour, Config};
use p2prpc::{Multiaddr, PeerId};
use serde_json::{Value, json};

use super::bare::{listen, once, swarm};
use super::nodes::{self, Carrier, Dht, Echo, EchoServiceClient, EchoServiceServer};
use super::{Error, Options, hundredths, median, micros, tenths};

const BYTES: usize = 64;
/// What a client has to do when it starts, and what is left to do when it has ended, is over by then.
const QUIET: Duration = Duration::from_millis(15);

/// A record for TCP and one for QUIC.
pub(super) async fn measure(options: &Options) -> Result<Vec<Value>, Error> {
    let mut records = Vec::new();
    for carrier in [Carrier::Tcp, Carrier::Quic] {
        records.push(by(carrier, options).await?);
    }
    Ok(records)
}

async fn by(carrier: Carrier, options: &Options) -> Result<Value, Error> {
    let calls = if options.quick { 10 } else { 40 };
    let (server, address) = nodes::server(carrier, Dht::Shared, Echo).await?;
    let node = (server.peer_id(), address);
    let behaviour = serve_behaviour(carrier).await?;
    let floor = once::Server::start(carrier).await?;
    let mut medians: [Vec<f64>; 3] = Default::default();
    for run in 0..=options.runs() {
        let mut took: [Vec<f64>; 3] = Default::default();
        for call in 0..if run == 0 { 1 } else { calls } {
            for turn in 0..took.len() {
                let who = (call + turn) % took.len();
                took[who].push(micros(match who {
                    0 => call_node(carrier, &node).await?,
                    1 => call_behaviour(carrier, &behaviour).await?,
                    _ => call_bare(carrier, floor.address()).await?,
                }));
            }
        }
        // The first run warms up.
        if run > 0 {
            medians.iter_mut().zip(took).for_each(|(medians, took)| medians.push(median(took)));
        }
    }
    let [node, behaviour, bare] = medians.map(median);
    Ok(json!({
        "transport": carrier.name(), "bytes": BYTES, "p2prpc_us": tenths(node), "behaviour_us": tenths(behaviour),
        "bare_us": tenths(bare), "ratio": hundredths(node / bare), "behaviour_ratio": hundredths(behaviour / bare),
    }))
}

async fn call_node(carrier: Carrier, (peer, address): &(PeerId, Multiaddr)) -> Result<Duration, Error> {
    let node = nodes::client(carrier, Dht::Shared).await?;
    node.add_address(*peer, address.clone())?;
    let took = call(EchoServiceClient::new(&node), *peer).await?;
    nodes::end(node).await;
    tokio::time::sleep(QUIET).await;
    Ok(took)
}

async fn call(client: EchoServiceClient, peer: PeerId) -> Result<Duration, Error> {
    let message = "x".repeat(BYTES);
    tokio::time::sleep(QUIET).await;
    let start = Instant::now();
    client.peer(peer).echo(message).await?;
    Ok(start.elapsed())
}

fn behaviour() -> Result<Swarm<Behaviour>, Error> {
    let config = Config::new("/bench")?;
    swarm(|keypair| Behaviour::new(keypair.public().to_peer_id(), config))
}

async fn serve_behaviour(carrier: Carrier) -> Result<(PeerId, Multiaddr), Error> {
    let mut swarm = behaviour()?;
    swarm.behaviour().serve(EchoServiceServer::new(Echo))?;
    let address = listen(&mut swarm, carrier).await?;
    let peer = *swarm.local_peer_id();
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    Ok((peer, address))
}

async fn call_behaviour(carrier: Carrier, (peer, address): &(PeerId, Multiaddr)) -> Result<Duration, Error> {
    let mut swarm = behaviour()?;
    listen(&mut swarm, carrier).await?;
    swarm.add_peer_address(*peer, address.clone());
    let client = EchoServiceClient::new(swarm.behaviour().handle());
    let swarm = tokio::spawn(async move { while swarm.next().await.is_some() {} });
    let took = call(client, *peer).await?;
    swarm.abort();
    tokio::time::sleep(QUIET).await;
    Ok(took)
}

async fn call_bare(carrier: Carrier, address: &Multiaddr) -> Result<Duration, Error> {
    let client = once::Client::start(carrier).await?;
    let (message, address) = (vec![b'x'; BYTES], address.clone());
    tokio::time::sleep(QUIET).await;
    let start = Instant::now();
    client.ask(address, message).await?;
    let took = start.elapsed();
    tokio::time::sleep(QUIET).await;
    Ok(took)
}
