//! `cargo bench --manifest-path tests/bench/Cargo.toml --bench fairness`: what calls wait for that share a connection, or a node, with
//! others that take long. Ends with an error if a bound is exceeded; `--slack N` allows N times the time, for a busy machine.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use comfy_table::Table;
use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol, Swarm, SwarmBuilder, kad, noise, tcp, yamux};
use p2prpc::Limits;
use p2prpc::prelude::*;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What calls wait for beside others that take long.
#[derive(Parser)]
struct Options {
    /// Allow so many times the time.
    #[arg(long, default_value_t = 1)]
    slack: u32,
    /// Measure each case for so many seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// What `cargo bench` says by itself.
    #[arg(long, hide = true)]
    bench: bool,
}

const PAUSE: Duration = Duration::from_millis(50);
const LARGE: usize = 64 << 20;

#[p2p_service]
trait Mixed {
    async fn echo(&self, message: String) -> String;
    async fn sleep(&self);
    async fn block(&self);
    async fn panic(&self);
    async fn large(&self) -> String;
}

struct Service(String);

impl Mixed for Service {
    async fn echo(&self, message: String) -> String {
        message
    }

    async fn sleep(&self) {
        tokio::time::sleep(PAUSE).await;
    }

    async fn block(&self) {
        std::thread::sleep(PAUSE);
    }

    async fn panic(&self) {
        panic!("as it was asked to");
    }

    async fn large(&self) -> String {
        self.0.clone()
    }
}

fn threads() -> Result<Runtime, Failed> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

async fn node(listen: &str) -> Result<Node, Failed> {
    let mut limits = Limits::default();
    limits.max_message = LARGE + 1024;
    limits.max_bytes_per_peer = 4 * LARGE;
    let service = MixedServer::new(Service("x".repeat(LARGE)));
    Ok(Node::builder().listen(listen).limits(limits).serve(service).start().await?)
}

struct Pair {
    _server: Node,
    _client: Node,
    stub: MixedPeer,
}

impl Pair {
    async fn over(listen: &str) -> Result<Self, Failed> {
        let (server, client) = (node(listen).await?, node(listen).await?);
        let peer = client.connect(address(&server)?).await?;
        let stub = MixedClient::new(&client).timeout(Duration::from_secs(60)).peer(peer);
        stub.echo("the first".into()).await?;
        Ok(Pair { _server: server, _client: client, stub })
    }
}

fn address(node: &Node) -> Result<Multiaddr, Failed> {
    node.addresses().into_iter().next().ok_or_else(|| "the node listens nowhere".into())
}

/// Call again and again, one call at a time, until it is dropped.
struct Disturbance {
    calls: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Disturbance {
    fn start<F, Fut>(call: F) -> Self
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let calls = Arc::<AtomicU64>::default();
        let count = calls.clone();
        let task = tokio::spawn(async move {
            loop {
                call().await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Disturbance { calls, task }
    }
}

impl Drop for Disturbance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The latencies of callers that each call one time after the other, sorted.
async fn latencies(stub: &MixedPeer, callers: usize, time: Duration) -> Result<Vec<Duration>, Failed> {
    let stop = Arc::<AtomicBool>::default();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (stub, stop) = (stub.clone(), stop.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    stub.echo("x".repeat(64)).await?;
                    took.push(began.elapsed());
                }
                Ok::<_, RpcError>(took)
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    all.sort_unstable();
    Ok(all)
}

struct Report {
    table: Table,
    slack: u32,
    exceeded: Vec<String>,
}

impl Report {
    fn add(&mut self, case: &str, took: &[Duration], disturbances: u64, bound: Duration) -> Result<(), Failed> {
        if disturbances == 0 {
            return Err(format!("{case}: nothing was beside the calls").into());
        }
        let at = |percent: usize| took.get(took.len() * percent / 100).copied().ok_or("no call was answered");
        let (p50, p99) = (at(50)?, at(99)?);
        if p99 > bound * self.slack {
            self.exceeded.push(format!("{case}: {p99:.1?} instead of {:.1?}", bound * self.slack));
        }
        let (p50, p99, bound) = (format!("{p50:.1?}"), format!("{p99:.1?}"), format!("{bound:.0?}"));
        self.table.add_row([case, &took.len().to_string(), &disturbances.to_string(), &p50, &p99, &bound]);
        Ok(())
    }
}

fn main() -> Result<(), Failed> {
    let options = Options::parse();
    let time = Duration::from_secs(options.seconds);
    let mut report = Report { table: Table::new(), slack: options.slack, exceeded: Vec::new() };
    report.table.set_header(["calls of 64 B", "calls", "beside so many", "p50", "p99", "p99 at most"]);
    // What a handler says as it panics is no news here.
    std::panic::set_hook(Box::new(|_| {}));

    let runtime = threads()?;
    runtime.block_on(handlers(&mut report, time))?;
    runtime.block_on(large_replies(&mut report, time))?;
    drop(runtime);
    floods(&mut report, time)?;

    println!("{}", report.table);
    if report.exceeded.is_empty() { Ok(()) } else { Err(report.exceeded.join("; ").into()) }
}

/// 64 callers beside one handler that takes long, on the same connection.
async fn handlers(report: &mut Report, time: Duration) -> Result<(), Failed> {
    let pair = Pair::over("/ip4/127.0.0.1/tcp/0").await?;
    let fast = Duration::from_millis(5);
    let stub = pair.stub.clone();
    let sleeping = Disturbance::start(move || {
        let stub = stub.clone();
        async move { drop(stub.sleep().await) }
    });
    let took = latencies(&pair.stub, 64, time).await?;
    report.add("64 callers, a handler sleeps 50 ms", &took, sleeping.calls.load(Ordering::Relaxed), fast)?;
    drop(sleeping);

    let stub = pair.stub.clone();
    let panicking = Disturbance::start(move || {
        let stub = stub.clone();
        async move { drop(stub.panic().await) }
    });
    let took = latencies(&pair.stub, 64, time).await?;
    report.add("64 callers, a handler panics", &took, panicking.calls.load(Ordering::Relaxed), fast)?;
    drop(panicking);

    let stub = pair.stub.clone();
    let blocking = Disturbance::start(move || {
        let stub = stub.clone();
        async move { drop(stub.block().await) }
    });
    let took = latencies(&pair.stub, 64, time).await?;
    let blocked = Duration::from_millis(60);
    report.add("64 callers, a handler blocks its thread 50 ms", &took, blocking.calls.load(Ordering::Relaxed), blocked)
}

/// 8 callers beside replies of 64 MiB on the same connection.
async fn large_replies(report: &mut Report, time: Duration) -> Result<(), Failed> {
    for (transport, listen, bound) in [("TCP", "/ip4/127.0.0.1/tcp/0", 10), ("QUIC", "/ip4/127.0.0.1/udp/0/quic-v1", 5)]
    {
        let pair = Pair::over(listen).await?;
        let stub = pair.stub.clone();
        let large = Disturbance::start(move || {
            let stub = stub.clone();
            async move {
                let reply = stub.large().await;
                assert_eq!(reply.map(|reply| reply.len()).ok(), Some(LARGE), "a large reply was lost");
            }
        });
        let took = latencies(&pair.stub, 8, time).await?;
        let case = format!("8 callers, replies of 64 MiB, {transport}");
        let beside = large.calls.load(Ordering::Relaxed) + u64::from(!large.task.is_finished());
        report.add(&case, &took, beside, Duration::from_millis(bound))?;
    }
    Ok(())
}

/// A third peer's calls, and Kademlia's answers, while two connections flood a node of two threads.
fn floods(report: &mut Report, time: Duration) -> Result<(), Failed> {
    let (served, flooding) = (threads()?, threads()?);
    let server = served.block_on(node("/ip4/127.0.0.1/tcp/0"))?;
    let (address, bound) = (address(&server)?, Duration::from_millis(50));
    flooding.block_on(async {
        let mut flooders = Vec::new();
        let mut floods = Vec::new();
        for _ in 0..2 {
            let client = node("/ip4/127.0.0.1/tcp/0").await?;
            let stub = MixedClient::new(&client).peer(client.connect(address.clone()).await?);
            floods.extend((0..512).map(|_| {
                let stub = stub.clone();
                Disturbance::start(move || {
                    let stub = stub.clone();
                    async move { drop(stub.echo("x".repeat(64)).await) }
                })
            }));
            flooders.push(client);
        }
        let third = node("/ip4/127.0.0.1/tcp/0").await?;
        let stub = MixedClient::new(&third).peer(third.connect(address.clone()).await?);
        let took = latencies(&stub, 1, time).await?;
        let beside = |floods: &[Disturbance]| floods.iter().map(|flood| flood.calls.load(Ordering::Relaxed)).sum();
        report.add("a third peer, two connections flood", &took, beside(&floods), bound)?;
        let mut took = Vec::new();
        let mut asking = Asking::start(&address)?;
        let until = Instant::now() + time;
        while Instant::now() < until {
            took.push(asking.ask().await);
        }
        took.sort_unstable();
        report.add("Kademlia's answers, two connections flood", &took, beside(&floods), bound)
    })
}

/// A peer of the DHT that asks one other.
struct Asking(Swarm<kad::Behaviour<kad::store::MemoryStore>>);

impl Asking {
    fn start(of: &Multiaddr) -> Result<Self, Failed> {
        let protocol = StreamProtocol::new("/ipfs/kad/1.0.0");
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|key| {
                let id = key.public().to_peer_id();
                kad::Behaviour::with_config(id, kad::store::MemoryStore::new(id), kad::Config::new(protocol))
            })?
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
            .build();
        swarm.listen_on(Multiaddr::from(Ipv4Addr::LOCALHOST).with(libp2p::multiaddr::Protocol::Tcp(0)))?;
        let (Some(libp2p::multiaddr::Protocol::P2p(peer)), at) = split(of) else { return Err("no peer id".into()) };
        swarm.behaviour_mut().add_address(&peer, at);
        Ok(Asking(swarm))
    }

    /// How long a question took.
    async fn ask(&mut self) -> Duration {
        let began = Instant::now();
        let id = self.0.behaviour_mut().get_closest_peers(libp2p::PeerId::random());
        loop {
            let event = self.0.select_next_some().await;
            if let SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed { id: other, step, .. }) = event
                && other == id
                && step.last
            {
                return began.elapsed();
            }
        }
    }
}

/// An address's last part, and what is before it.
fn split(address: &Multiaddr) -> (Option<libp2p::multiaddr::Protocol<'static>>, Multiaddr) {
    let mut address = address.clone();
    let last = address.pop();
    (last, address)
}
