//! One node, until it is told to stop.

use std::future::Future;
use std::net::{Ipv6Addr, TcpListener};
use std::num::NonZeroU64;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use p2prpc::{Identity, Node, StartError};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use crate::cli::NodeArgs;
use crate::exit::Failure;
use crate::files;
use crate::participant::Participant;
use crate::report::Reporter;

/// A peer that doesn't answer may be asked so often before the next round waits for it.
const MAX_ROUNDS_UNDER_WAY: usize = 64;
/// Who has found nobody by then is told why.
const ALONE: Duration = Duration::from_secs(10);
/// What a node with all the connections it allows by default has open.
const OPEN_FILES: u64 = 2048;

pub(crate) async fn run(args: NodeArgs, reporter: &Reporter, stop: &CancellationToken) -> Result<(), Failure> {
    files::allow(OPEN_FILES);
    let identity = identity(args.identity.as_deref(), args.seed)?;
    let mut builder = Node::builder().rendezvous(args.rendezvous).protocol(args.protocolid).bootstrap(args.peer);
    for address in listen_addresses(args.port) {
        builder = builder.listen(address);
    }
    let starting = Participant::start(builder, identity, None, args.echo.message, reporter.clone());
    let Some(started) = unless(stop, starting).await else { return Ok(()) };
    let mut participant = started.map_err(|error| failure(&error))?;
    unless(stop, echo(&mut participant, args.echo.interval, args.echo.rounds)).await;
    let (speaker, tally) = participant.leave().await;
    reporter.summaries(vec![(speaker, tally.summary())]).await;
    Ok(())
}

/// What comes of it, unless the program is to stop before.
async fn unless<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    stop.run_until_cancelled(work).await
}

/// Calls all peers in each interval. Ends with the last answer of the last round.
async fn echo(participant: &mut Participant, interval: Duration, rounds: Option<NonZeroU64>) {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alone = pin!(sleep(ALONE));
    let mut explained = false;
    let mut round = 0;
    loop {
        let more = rounds.is_none_or(|rounds| round < rounds.get());
        if !more && participant.rounds_under_way() == 0 {
            return;
        }
        let may_begin = more && participant.rounds_under_way() < MAX_ROUNDS_UNDER_WAY;
        tokio::select! {
            _ = ticks.tick(), if may_begin => {
                round += 1;
                participant.begin_round(round);
            }
            () = &mut alone, if !explained => {
                explained = true;
                participant.explain_solitude().await;
            }
            happening = participant.next() => participant.report(happening).await,
        }
    }
}

fn identity(file: Option<&Path>, seed: u64) -> Result<Identity, Failure> {
    match (file, seed) {
        (Some(file), _) => {
            Identity::from_file(file).map_err(|error| Failure::usage(format_args!("--identity wants a file: {error}")))
        }
        (None, 0) => Ok(Identity::generate()),
        (None, seed) => Ok(Identity::from_seed(seed)),
    }
}

/// All addresses of this machine, by TCP and by QUIC.
fn listen_addresses(port: u16) -> Vec<String> {
    let mut hosts = vec!["/ip4/0.0.0.0"];
    // A machine may have no IPv6 at all.
    if TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok() {
        hosts.push("/ip6/::");
    }
    hosts.iter().flat_map(|host| [format!("{host}/tcp/{port}"), format!("{host}/udp/{port}/quic-v1")]).collect()
}

fn failure(error: &StartError) -> Failure {
    match error {
        StartError::InvalidAddress(error) => {
            Failure::usage(format_args!("--peer wants an address that can be dialled: {error}"))
        }
        StartError::BootstrapWithoutPeerId { .. } => Failure::usage(format_args!("--peer wants more: {error}")),
        StartError::InvalidProtocol(error) => Failure::usage(format_args!("--protocolid wants a protocol id: {error}")),
        StartError::EmptyRendezvous => Failure::usage(format_args!("--rendezvous wants a text: {error}")),
        StartError::Listen { .. } => Failure::usage(format_args!("--port wants a free port: {error}")),
        error => Failure::other(error),
    }
}
