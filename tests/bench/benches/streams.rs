//! `cargo bench --manifest-path tests/bench/Cargo.toml --bench streams`: server streams of p2prpc beside those of others, both ends in one
//! process, the peers in turns and the median of the rounds. `--only NAME` leaves out the others, `--rounds N` takes more.

use std::time::{Duration, Instant};

use clap::Parser;
use comfy_table::Table;
use futures::future::join_all;
use p2prpc::prelude::*;
use p2prpc_bench::peers::Transport;
use p2prpc_bench::streams::{self, Error, Pair};
use tokio::runtime::Builder;

/// Streams beside streams.
#[derive(Parser)]
struct Options {
    /// Only those in whose names this stands.
    #[arg(long)]
    only: Option<String>,
    /// Each case so many times.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only what a slow reader costs: 1 GiB, of which a MiB is taken each millisecond at the most.
    #[arg(long)]
    slow_reader: bool,
    /// What `cargo bench` says by itself.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Case {
    TenItems,
    FirstItem,
    SmallInOne,
    SmallInMany,
    Large,
}

const CASES: [Case; 5] = [Case::TenItems, Case::FirstItem, Case::SmallInOne, Case::SmallInMany, Case::Large];

impl Case {
    fn title(self) -> &'static str {
        match self {
            Case::TenItems => "10 items of 16 B, p50 (us)",
            Case::FirstItem => "first item, p50 (us)",
            Case::SmallInOne => "64 B, one stream (items/s)",
            Case::SmallInMany => "64 B, 64 streams (items/s)",
            Case::Large => "1 MiB items (MiB/s)",
        }
    }

    async fn measure(self, pair: &Pair) -> f64 {
        match self {
            Case::TenItems => {
                let mut times = Vec::new();
                for _ in 0..2000 {
                    let began = Instant::now();
                    (pair.stream)(10, 16).await;
                    times.push(began.elapsed());
                }
                micros(median_of(times))
            }
            Case::FirstItem => {
                let mut times = Vec::new();
                for _ in 0..2000 {
                    let began = Instant::now();
                    let first = (pair.stream)(1, 16).await;
                    times.push(first - began);
                }
                micros(median_of(times))
            }
            Case::SmallInOne => {
                let (items, began) = (500_000, Instant::now());
                (pair.stream)(items, 64).await;
                items as f64 / began.elapsed().as_secs_f64()
            }
            Case::SmallInMany => {
                let (items, began) = (10_000, Instant::now());
                join_all((0..64).map(|_| tokio::spawn((pair.stream)(items, 64)))).await;
                (64 * items) as f64 / began.elapsed().as_secs_f64()
            }
            Case::Large => {
                let (items, began) = (200, Instant::now());
                (pair.stream)(items, 1 << 20).await;
                items as f64 / began.elapsed().as_secs_f64()
            }
        }
    }
}

fn median_of(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn unary(nodes: &streams::p2prpc::Nodes) -> f64 {
    let mut times = Vec::new();
    for _ in 0..5000 {
        let began = Instant::now();
        nodes.stub.echo("sixteen bytes ..".into()).await.expect("an echo failed");
        times.push(began.elapsed());
    }
    micros(median_of(times))
}

/// From dropping a stream until its handler is dropped: the 99th of a hundred.
async fn cancelled(nodes: &streams::p2prpc::Nodes) -> f64 {
    let mut times = Vec::new();
    for _ in 0..1000 {
        let mut stream = nodes.stub.for_ever();
        stream.next().await.expect("an item").expect("an item");
        let ended = nodes.service.0.notified();
        let began = Instant::now();
        drop(stream);
        ended.await;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    micros(times[times.len() * 99 / 100])
}

/// What a process has in memory, and had at the most.
fn memory() -> Result<(u64, u64), Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or_default() / 1024
    };
    Ok((field("VmRSS:"), field("VmHWM:")))
}

async fn slow_reader(transport: Transport) -> Result<(), Error> {
    let nodes = streams::p2prpc::nodes(transport, false).await?;
    let (before, _) = memory()?;
    let (mut items, began) = (nodes.stub.items(1024, 1 << 20), Instant::now());
    while let Some(item) = items.next().await {
        item?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (_, most) = memory()?;
    let took = began.elapsed();
    println!("1 GiB to a slow reader, {transport:?}: {took:.1?}, both ends from {before} to {most} MiB at the most");
    Ok(())
}

/// Large items over a long link, in turns with a bare substream.
async fn far(rounds: usize) -> Result<(), Error> {
    let pairs = [streams::p2prpc::pair(Transport::Tcp, true).await?, streams::bare::pair(true).await?];
    for pair in &pairs {
        // Windows have grown by then.
        (pair.stream)(100, 1 << 20).await;
        let mut rates = Vec::new();
        for _ in 0..rounds {
            rates.push(Case::Large.measure(pair).await);
        }
        let (rate, link) = (median(rates), streams::far::BYTES_A_SECOND / f64::from(1 << 20));
        println!("50 ms there and back, 1 Gbit/s, {}: {rate:.0} of {link:.0} MiB/s", pair.name);
    }
    Ok(())
}

async fn run(options: &Options) -> Result<(), Error> {
    if options.slow_reader {
        slow_reader(Transport::Tcp).await?;
        return slow_reader(Transport::Quic).await;
    }
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let mut pairs = vec![
        streams::p2prpc::pair(Transport::Tcp, false).await?,
        streams::p2prpc::pair(Transport::Quic, false).await?,
        streams::bare::pair(false).await?,
    ];
    #[cfg(feature = "tonic")]
    pairs.push(streams::tonic::pair().await?);
    #[cfg(feature = "irpc")]
    pairs.push(streams::irpc::pair().await?);
    pairs.retain(|pair| wanted(pair.name));
    for pair in &pairs {
        (pair.stream)(100, 1000).await;
    }
    let mut table = Table::new();
    table.set_header([""].into_iter().chain(pairs.iter().map(|pair| pair.name)));
    for case in CASES {
        let mut results = vec![Vec::new(); pairs.len()];
        for _ in 0..options.rounds {
            for (pair, results) in pairs.iter().zip(&mut results) {
                results.push(case.measure(pair).await);
            }
        }
        let figures = results.into_iter().map(|results| format!("{:.1}", median(results)));
        table.add_row([case.title().to_owned()].into_iter().chain(figures));
    }
    println!("{table}");
    for transport in [Transport::Tcp, Transport::Quic] {
        let nodes = streams::p2prpc::nodes(transport, false).await?;
        let (mut unaries, mut drops) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            unaries.push(unary(&nodes).await);
            drops.push(cancelled(&nodes).await);
        }
        let (unary, drops) = (median(unaries), median(drops));
        println!(
            "p2prpc, {transport:?}: a unary call p50 {unary:.1} us; from drop to the handler's drop p99 {drops:.1} us"
        );
    }
    far(options.rounds).await
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run(&options))
}
