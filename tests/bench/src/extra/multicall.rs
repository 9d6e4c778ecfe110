//! One call to many peers: what a peer more costs, and what one costs that never answers.

use std::time::{Duration, Instant};

use futures::StreamExt;
use p2prpc::prelude::*;
use serde_json::{Value, json};

use super::nodes::{self, Carrier, Dht, Echo, EchoServiceClient, Silent};
use super::{Error, Options, hundredths, median, micros, tenths};

const PEERS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const BYTES: usize = 64;
/// A multicall ends after this, whoever is silent.
const TIMEOUT: Duration = Duration::from_millis(500);
/// Until the call streams are open.
const WARM_UP: Duration = Duration::from_secs(30);

/// Everybody who takes part, connected over TCP on loopback, in this process.
struct Crowd {
    client: Node,
    servers: Vec<Node>,
    silent: PeerId,
}

impl Crowd {
    async fn gather() -> Result<Self, Error> {
        let client = nodes::client(Carrier::Tcp, Dht::Apart).await?;
        let mut servers = Vec::new();
        for _ in 0..PEERS.into_iter().max().unwrap_or_default() {
            let (server, address) = nodes::server(Carrier::Tcp, Dht::Apart, Echo).await?;
            client.add_address(server.peer_id(), address)?;
            servers.push(server);
        }
        let (server, address) = nodes::server(Carrier::Tcp, Dht::Apart, Silent).await?;
        let silent = server.peer_id();
        client.add_address(silent, address)?;
        servers.push(server);
        Ok(Crowd { client, servers, silent })
    }

    /// So many that answer; with `silent`, the last of them never does.
    fn peers(&self, n: usize, silent: bool) -> Vec<PeerId> {
        let mut peers: Vec<_> = self.servers.iter().take(n).map(Node::peer_id).collect();
        if silent {
            peers.pop();
            peers.push(self.silent);
        }
        peers
    }

    /// Connects to these, and opens the call streams.
    async fn warm_up(&self, peers: &[PeerId]) -> Result<(), Error> {
        let answering = peers.iter().copied().filter(|peer| *peer != self.silent);
        let client = EchoServiceClient::new(&self.client).timeout(WARM_UP);
        for (peer, reply) in client.peers(answering).echo(String::new()).await {
            reply.map_err(|error| format!("{peer} can't be warmed up: {error}"))?;
        }
        if peers.contains(&self.silent) {
            // Its stream is open once the deadline of the call has passed.
            let _ = client.timeout(TIMEOUT).peer(self.silent).echo(String::new()).await;
        }
        Ok(())
    }

    /// The time until the last but the silent one had answered, and until the multicall had ended.
    async fn call(&self, peers: &[PeerId]) -> Result<(Duration, Duration), Error> {
        let client = EchoServiceClient::new(&self.client).timeout(TIMEOUT);
        let message = "x".repeat(BYTES);
        let start = Instant::now();
        let mut others = Duration::ZERO;
        let mut replies = client.peers(peers.iter().copied()).echo(message).replies();
        while let Some((peer, reply)) = replies.next().await {
            match reply {
                Ok(_) => others = start.elapsed(),
                Err(_) if peer == self.silent => {}
                Err(error) => return Err(format!("one of {} did not answer: {error}", peers.len()).into()),
            }
        }
        Ok((others, start.elapsed()))
    }
}

/// A record for each number of peers, without and with a silent one among them.
pub(super) async fn measure(options: &Options) -> Result<Vec<Value>, Error> {
    let crowd = Crowd::gather().await?;
    let mut records = Vec::new();
    let mut cost_of_8 = None;
    for silent in [false, true] {
        for n in PEERS.into_iter().filter(|n| !silent || *n > 1) {
            let (others, all) = one(&crowd, n, silent, options).await?;
            let answering = if silent { n - 1 } else { n };
            let cost = others / answering as f64;
            let mut record = json!({
                "peers": n, "silent": silent, "bytes": BYTES, "others_us": tenths(others), "all_us": tenths(all),
                "per_peer_us": tenths(cost),
            });
            if !silent && n == 8 {
                cost_of_8 = Some(cost);
            }
            if !silent && n == 256 {
                record["per_peer_beside_8"] = cost_of_8.map(|few| hundredths(cost / few)).into();
            }
            records.push(record);
        }
    }
    Ok(records)
}

/// Medians of the runs, in µs.
async fn one(crowd: &Crowd, n: usize, silent: bool, options: &Options) -> Result<(f64, f64), Error> {
    let calls = match (silent, options.quick) {
        (true, true) => 1,
        (true, false) => 3,
        (false, true) => 10,
        (false, false) => 50,
    };
    let peers = crowd.peers(n, silent);
    crowd.warm_up(&peers).await?;
    let (mut others, mut all) = (Vec::new(), Vec::new());
    for _ in 0..options.runs() {
        let (mut others_of_run, mut all_of_run) = (Vec::new(), Vec::new());
        for _ in 0..calls {
            let (without, with) = crowd.call(&peers).await?;
            others_of_run.push(micros(without));
            all_of_run.push(micros(with));
        }
        others.push(median(others_of_run));
        all.push(median(all_of_run));
    }
    Ok((median(others), median(all)))
}
