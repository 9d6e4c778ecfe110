//! The nodes of a swarm: the others know the first, and nobody else.

use p2prpc::{Identity, Multiaddr, Node};

use super::transport::Transport;
use crate::cli;
use crate::exit::Failure;
use crate::message::Template;
use crate::participant::Participant;
use crate::report::Reporter;

/// Starts `nodes` nodes.
pub(super) async fn all(
    nodes: usize,
    transport: Transport,
    message: &Template,
    reporter: &Reporter,
) -> Result<Vec<Participant>, Failure> {
    let mut started: Vec<Participant> = Vec::with_capacity(nodes);
    for number in 1..=nodes {
        let bootstrap = started.first().map(Participant::addresses).unwrap_or_default();
        started.push(one(number, transport, bootstrap, message.clone(), reporter.clone()).await?);
    }
    Ok(started)
}

async fn one(
    number: usize,
    transport: Transport,
    bootstrap: Vec<Multiaddr>,
    message: Template,
    reporter: Reporter,
) -> Result<Participant, Failure> {
    let builder = Node::builder()
        .listen(transport.loopback())
        .protocol(cli::PROTOCOL_ID)
        .rendezvous(cli::RENDEZVOUS)
        .bootstrap(bootstrap);
    let label = format!("node-{number}");
    Participant::start(builder, Identity::generate(), Some(label.clone()), message, reporter)
        .await
        .map_err(|error| Failure::other(format_args!("{label} could not be started: {error}")))
}
