//! How long it takes until nodes that know one of them know each other.

use std::time::{Duration, Instant};

use p2prpc::prelude::*;
use serde_json::{Value, json};

use super::child::Process;
use super::nodes::{self, Carrier, Echo, EchoServiceServer};
use super::{Error, Options, files, hundredths, median};

const SWARMS: [(usize, Carrier); 5] =
    [(10, Carrier::Tcp), (20, Carrier::Tcp), (50, Carrier::Tcp), (100, Carrier::Tcp), (200, Carrier::Quic)];
/// Swarms of more nodes than this are measured at most [`RUNS_OF_MANY`] times.
const MANY: usize = 50;
const RUNS_OF_MANY: usize = 1;
/// It has failed after this.
const PATIENCE: Duration = Duration::from_secs(120);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A record for each swarm: the seconds from the start of the last node until each lists all others, or none and how
/// many of the ordered pairs were missing in the end.
pub(super) async fn measure(options: &Options) -> Result<Vec<Value>, Error> {
    let mut records = Vec::new();
    let swarms = if options.quick { &SWARMS[..1] } else { &SWARMS[..] };
    for (nodes, carrier) in swarms.iter().copied() {
        records.push(median_of(nodes, carrier, options).await?);
    }
    Ok(records)
}

async fn median_of(nodes: usize, carrier: Carrier, options: &Options) -> Result<Value, Error> {
    let runs = if nodes > MANY { options.runs().min(RUNS_OF_MANY) } else { options.runs() };
    let (mut seconds, mut missing) = (Vec::new(), 0);
    for _ in 0..runs {
        let answer = Process::start(&["discovery", &nodes.to_string(), carrier.name()])?.hear().await?;
        match answer["seconds"].as_f64() {
            Some(took) => seconds.push(took),
            None => {
                missing = answer["missing_pairs"].as_u64().unwrap_or_default();
                break;
            }
        }
    }
    let took = (missing == 0).then(|| hundredths(median(seconds)));
    Ok(json!({ "nodes": nodes, "transport": carrier.name(), "runs": runs, "seconds": took, "missing_pairs": missing }))
}

/// One swarm, in this process; says on the standard output what came of it.
pub(super) async fn child(nodes: usize, carrier: &str) -> Result<(), Error> {
    files::allow_many();
    let carrier = Carrier::named(carrier)?;
    let mut swarm: Vec<Node> = Vec::with_capacity(nodes);
    for _ in 0..nodes {
        let bootstrap = swarm.first().map(nodes::address).transpose()?;
        let node = Node::builder()
            .listen(carrier.loopback())
            .rendezvous("discovery")
            .bootstrap(bootstrap)
            .serve(EchoServiceServer::new(Echo));
        swarm.push(node.start().await?);
    }
    let start = Instant::now();
    let mut missing = missing_pairs(&swarm);
    while missing > 0 && start.elapsed() < PATIENCE {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        missing = missing_pairs(&swarm);
    }
    let seconds = (missing == 0).then(|| start.elapsed().as_secs_f64());
    println!("{}", json!({ "seconds": seconds, "missing_pairs": missing }));
    Ok(())
}

/// Nobody else takes part: who lists as many as there are lists them all.
fn missing_pairs(swarm: &[Node]) -> usize {
    let others = swarm.len().saturating_sub(1);
    swarm.iter().map(|node| others.saturating_sub(node.members().len())).sum()
}
