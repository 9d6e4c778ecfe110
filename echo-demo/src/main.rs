//! `echo-demo`: peers that find each other through Kademlia and echo what they are told.

mod cli;
mod exit;
mod files;
mod message;
mod participant;
mod report;
mod run;
mod service;
mod signals;
mod swarm;
mod tally;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command};
use exit::Failure;
use report::Printer;

/// libp2p warns of each connection that breaks.
const DEFAULT_LOG: &str = "error,p2prpc=warn,echo_demo=warn";
/// Tasks of libp2p that have nothing left to do for us.
const LINGER: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn demo() -> Result<(), Failure> {
    let Some(cli) = cli::parse(std::env::args_os())? else { return Ok(()) };
    log_to_stderr()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format_args!("the program could not be set up: {error}")))?;
    let result = runtime.block_on(demonstrate(cli));
    runtime.shutdown_timeout(LINGER);
    result
}

async fn demonstrate(cli: Cli) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    signals::watch(stop.clone())?;
    let printer = Printer::start(cli.json(), stop.clone());
    let reporter = printer.reporter();
    let result = match cli.command {
        Some(Command::Swarm(swarm)) => swarm::run(swarm, &reporter, &stop).await,
        None => run::run(cli.node, &reporter, &stop).await,
    };
    drop(reporter);
    result.and(printer.finish().await)
}

fn log_to_stderr() -> Result<(), Failure> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(wanted) if !wanted.is_empty() => EnvFilter::try_new(wanted).map_err(|error| {
            Failure::usage(format_args!("RUST_LOG wants a level or a list like info,p2prpc=debug: {error}"))
        })?,
        _ => EnvFilter::new(DEFAULT_LOG),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}
