//! From nothing to the first answer: dialling, handshake, negotiation, call.
//!
//! The clock starts before the dial, when the client has been started already and listens; it stops at the answer. Each
//! call is of a client with an identity of its own; the server stays. p2prpc takes turns with a bare swarm that does no
//! more than that: the same transport, one stream, one echo of the same bytes.

use std::time::{Duration, Instant};

use p2prpc::Multiaddr;
use serde_json::{Value, json};

use super::bare::once;
use super::nodes::{self, Carrier, Dht, Echo, EchoServiceClient};
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
    let (_server, address) = nodes::server(carrier, Dht::Shared, Echo).await?;
    let floor = once::Server::start(carrier).await?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    // The first of each warms up.
    call_p2prpc(carrier, &address).await?;
    call_bare(carrier, floor.address()).await?;
    for _ in 0..options.runs() {
        let (mut ours_of_run, mut bare_of_run) = (Vec::new(), Vec::new());
        for call in 0..calls {
            if call % 2 == 0 {
                ours_of_run.push(micros(call_p2prpc(carrier, &address).await?));
                bare_of_run.push(micros(call_bare(carrier, floor.address()).await?));
            } else {
                bare_of_run.push(micros(call_bare(carrier, floor.address()).await?));
                ours_of_run.push(micros(call_p2prpc(carrier, &address).await?));
            }
        }
        ours.push(median(ours_of_run));
        bare.push(median(bare_of_run));
    }
    let (ours, bare) = (median(ours), median(bare));
    Ok(json!({
        "transport": carrier.name(), "bytes": BYTES, "p2prpc_us": tenths(ours), "bare_us": tenths(bare),
        "ratio": hundredths(ours / bare),
    }))
}

async fn call_p2prpc(carrier: Carrier, address: &Multiaddr) -> Result<Duration, Error> {
    let node = nodes::client(carrier, Dht::Shared).await?;
    let client = EchoServiceClient::new(&node);
    let (message, address) = ("x".repeat(BYTES), address.clone());
    tokio::time::sleep(QUIET).await;
    let start = Instant::now();
    let peer = node.connect(address).await?;
    client.peer(peer).echo(message).await?;
    let took = start.elapsed();
    nodes::end(node).await;
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
