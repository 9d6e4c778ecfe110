//! `cargo bench --manifest-path tests/bench/Cargo.toml`: prints one table. `-- --quick` takes a few seconds.

use std::time::Duration;

use clap::Parser;
use comfy_table::Table;
use futures::future::BoxFuture;
use p2prpc_bench::load::{Figures, Work, run};
use p2prpc_bench::peers;

/// p2prpc beside what a user would pick instead.
#[derive(Parser)]
struct Options {
    /// A few seconds, for a look.
    #[arg(long)]
    quick: bool,
    /// Only this peer: p2prpc or request_response.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// What `cargo bench` says by itself.
    #[arg(long, hide = true)]
    bench: bool,
}

type Caller = Box<dyn Fn(Work) -> BoxFuture<'static, Figures>>;

const CALLERS: [usize; 3] = [1, 64, 256];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    // Both ends in one process, on two threads.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(&options))
}

async fn measure(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    let (runs, time) = if options.quick { (1, 500) } else { (5, 2000) };
    let time = Duration::from_millis(time);
    let mut peers: Vec<(&str, Caller)> = Vec::new();
    let ours = peers::p2prpc::Pair::start().await?;
    if wanted("p2prpc") {
        let caller = ours.caller();
        peers.push(("p2prpc", Box::new(move |work| Box::pin(run(work, caller.clone())))));
    }
    #[cfg(feature = "request-response")]
    if wanted("request_response") {
        let caller = peers::request_response::Pair::start().await?.caller();
        peers.push(("request_response", Box::new(move |work| Box::pin(run(work, caller.clone())))));
    }
    if peers.is_empty() {
        return Err("--only takes p2prpc or request_response".into());
    }

    let mut table = Table::new();
    table.set_header(["64 B echo, TCP+Noise+Yamux", "callers", "calls/s", "p50", "p99", "times p2prpc"]);
    for callers in CALLERS {
        let work = Work { callers, bytes: 64, time };
        let mut figures: Vec<Vec<Figures>> = peers.iter().map(|_| Vec::new()).collect();
        // One after the other, again and again, so that a slow minute hits all alike.
        for round in 1..=runs {
            for ((name, caller), figures) in peers.iter().zip(&mut figures) {
                eprintln!("{callers} callers, run {round} of {runs}: {name}");
                figures.push(caller(work).await);
            }
        }
        let medians: Vec<Figures> = figures.iter_mut().map(|figures| median(figures)).collect();
        for ((name, _), median) in peers.iter().zip(&medians) {
            table.add_row([
                (*name).to_owned(),
                callers.to_string(),
                format!("{:.0}", median.calls_per_s),
                format!("{:?}", median.p50),
                format!("{:?}", median.p99),
                format!("{:.3}", median.calls_per_s / medians[0].calls_per_s),
            ]);
        }
    }
    println!("{table}");
    Ok(())
}

fn median(figures: &mut [Figures]) -> Figures {
    figures.sort_by(|a, b| a.calls_per_s.total_cmp(&b.calls_per_s));
    figures[figures.len() / 2]
}
