//! Multicalls, first calls, memory and discovery, measured and drawn: `cargo run --profile bench --bin extras -- --quick`.

use std::alloc::System;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use p2prpc_bench::extra::{self, Error, Options, PARTS, child};
use p2prpc_bench::plots;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts what is on the heap. All that is measured here pays the few nanoseconds of it.
#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What p2prpc costs beside bare libp2p where it isn't calls a second.
#[derive(Debug, Parser)]
struct Args {
    /// One short run of each, to see that it works.
    #[arg(long)]
    quick: bool,
    /// Runs of each measurement; medians are given.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only this part; may be given more than once.
    #[arg(long, value_name = "NAME", value_parser = PARTS)]
    only: Vec<String>,
    /// Write the records here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw what was measured into this directory.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Measure nothing, and draw or print what this file of records has.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "json"])]
    from: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure something in this process; what is said of it is for the process that started it.
    #[command(name = child::ARGUMENT, hide = true)]
    Child { arguments: Vec<String> },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Error> {
    if let Some(Command::Child { arguments }) = args.command {
        return child::run(&arguments).await;
    }
    let options = Options { quick: args.quick, runs: args.runs, only: args.only };
    let measured = match &args.from {
        Some(file) => serde_json::from_slice(&std::fs::read(file)?)
            .map_err(|error| format!("{} has no records: {error}", file.display()))?,
        None => extra::measure(&options).await,
    };
    for (title, table) in extra::tables(&measured) {
        println!("{title}\n{table}\n");
    }
    if let Some(file) = args.json {
        std::fs::write(&file, serde_json::to_vec_pretty(&measured)?)
            .map_err(|error| format!("{} could not be written: {error}", file.display()))?;
    }
    if let Some(dir) = args.plots {
        for file in plots::draw(&measured, &dir)? {
            println!("{}", file.display());
        }
    }
    Ok(())
}
