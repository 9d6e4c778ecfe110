//! Many nodes for a while, with peers that come and go, some of them hostile, and calls going on: each call ends, and what
//! was taken for all that is given back. `SOAK_SECONDS` says for how long; the default is 60 s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use p2prpc::NodeBuilder;
use p2prpc::prelude::*;
use p2prpc::wire::Frame;
use p2prpc_tests::hostile::{Count, PROTOCOL, Probe, RawPeer, TargetClient, TargetServer, request, resident};
use p2prpc_tests::soon;
use tokio::task::JoinSet;

const MIB: usize = 1 << 20;
/// Those that stay. The first two are the bootstrap peers.
const STEADY: usize = 8;
/// Those that are there at a time and are replaced again and again.
const PASSING: usize = 39;
const HOSTILE: usize = 3;
/// For what a call may take beyond its deadline on a loaded machine.
const BEYOND_DEADLINE: Duration = Duration::from_secs(20);
/// Longer than idle connections and unfinished handshakes last.
const SETTLES: Duration = Duration::from_secs(15);
const CALM: Duration = Duration::from_secs(90);

fn builder(bootstrap: &[Multiaddr]) -> (NodeBuilder, Arc<Count>) {
    let probe = Probe::default();
    let count = probe.0.clone();
    let builder = Node::builder()
        .protocol(PROTOCOL)
        .listen("/ip4/127.0.0.1/tcp/0")
        .rendezvous("soak")
        .bootstrap(bootstrap.to_vec())
        .serve(TargetServer::new(probe));
    (builder, count)
}

/// A node, and what its handlers have seen.
struct Steady {
    node: Node,
    count: Arc<Count>,
}

impl Steady {
    async fn start(bootstrap: &[Multiaddr]) -> Self {
        let (builder, count) = builder(bootstrap);
        Steady { node: builder.start().await.expect("a node starts"), count }
    }

    fn address(&self) -> Multiaddr {
        self.node.addresses().into_iter().next().expect("it listens")
    }
}

/// What this process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    resident: usize,
    tasks: usize,
    files: usize,
}

impl Held {
    fn now() -> Self {
        let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        Held { resident: resident(), tasks, files }
    }

    /// No more than before, but for what an allocator does with its memory.
    fn is_within(self, before: Held) -> bool {
        let resident = before.resident + before.resident / 5 + 16 * MIB;
        self.resident <= resident && self.tasks <= before.tasks + 8 && self.files <= before.files + 8
    }
}

/// Outcomes of calls.
#[derive(Debug, Default)]
struct Outcomes {
    made: AtomicUsize,
    answered: AtomicUsize,
    failed: AtomicUsize,
}

impl Outcomes {
    fn note<T, E>(&self, result: &Result<T, E>) {
        let outcome = if result.is_ok() { &self.answered } else { &self.failed };
        outcome.fetch_add(1, Ordering::Relaxed);
    }
}

/// Calls of one node, of every kind, until it is told to stop.
async fn calls(handle: Handle, turn: usize, over: Arc<AtomicBool>, outcomes: Arc<Outcomes>) {
    let timeout = Duration::from_secs(3);
    let client = TargetClient::new(handle.clone()).timeout(timeout);
    for n in turn.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let members: Vec<PeerId> = handle.members().map(|all| all.keys().copied().collect()).unwrap_or_default();
        let Some(peer) = members.get(n % members.len().max(1)) else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let stub = client.peer(*peer);
        outcomes.made.fetch_add(1, Ordering::Relaxed);
        let ended = tokio::time::timeout(timeout + BEYOND_DEADLINE, async {
            match n % 6 {
                0 => outcomes.note(&stub.big(200_000, 5).await),
                1 => outcomes.note(&stub.wait().timeout(Duration::from_millis(50)).await),
                2 => outcomes.note(&stub.echo("x".repeat(100_000)).await),
                3 => {
                    // The caller goes before the answer comes.
                    let given_up = tokio::time::timeout(Duration::from_millis(5), stub.wait()).await;
                    assert!(given_up.is_err() || given_up.is_ok_and(|result| result.is_err()));
                    outcomes.failed.fetch_add(1, Ordering::Relaxed);
                }
                4 => {
                    let asked = client.all().echo("all".into()).await;
                    assert!(asked.len() <= 2 * (STEADY + PASSING + HOSTILE), "each member once");
                    outcomes.answered.fetch_add(1, Ordering::Relaxed);
                }
                _ => outcomes.note(&stub.echo("hello".into()).await),
            }
        });
        ended.await.expect("no call is without an outcome");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Nodes that come, call, and go, by turns politely and not.
async fn passing(bootstrap: Vec<Multiaddr>, turn: usize, over: Arc<AtomicBool>, outcomes: Arc<Outcomes>) {
    for n in turn.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let node = builder(&bootstrap).0.start().await.expect("a node starts");
        let gone = Arc::new(AtomicBool::new(false));
        let calling = tokio::spawn(calls(node.handle(), n, gone.clone(), outcomes.clone()));
        tokio::time::sleep(Duration::from_millis(1500 + 700 * (n as u64 % 5))).await;
        if n % 2 == 0 {
            node.shutdown(Duration::from_millis(200)).await;
        } else {
            drop(node);
        }
        gone.store(true, Ordering::Relaxed);
        calling.await.expect("no caller panics");
    }
}

/// Peers that come, do harm, and go.
async fn hostile(at: Multiaddr, node: PeerId, turn: usize, over: Arc<AtomicBool>) {
    for n in turn.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let mut raw = RawPeer::start().await;
        raw.connect(&at).await;
        if let Some(mut stream) = raw.open(node).await {
            stream.hello().await;
            match n % 4 {
                0 => stream.send_bytes(&[0xff; 1000]).await,
                1 => {
                    for id in 1..=200 {
                        stream.send_bytes(&request(id, "Target.Echo", None, 1 << 20, &[1; 1000])).await;
                    }
                }
                2 => {
                    for id in 1..=500 {
                        stream.call(id, "Target.Cling", &()).await;
                        stream.send(Frame::Cancel { id }).await;
                    }
                }
                _ => {
                    for id in 1..=50 {
                        stream.call(id, "Target.Big", &(500_000_u32, 1_u64)).await;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// All of it for so long. What is left at the end is what was there before.
async fn round(steady: &[Steady], time: Duration) {
    let bootstrap: Vec<Multiaddr> = steady[..2].iter().map(Steady::address).collect();
    let (over, outcomes) = (Arc::new(AtomicBool::new(false)), Arc::<Outcomes>::default());
    let mut tasks = JoinSet::new();
    for (n, steady) in steady.iter().enumerate() {
        tasks.spawn(calls(steady.node.handle(), n, over.clone(), outcomes.clone()));
    }
    for n in 0..PASSING {
        tasks.spawn(passing(bootstrap.clone(), n, over.clone(), outcomes.clone()));
    }
    for n in 0..HOSTILE {
        let victim = &steady[n % steady.len()];
        tasks.spawn(hostile(victim.address(), victim.node.peer_id(), n, over.clone()));
    }
    tokio::time::sleep(time).await;
    over.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.expect("nothing panics");
    }
    let [made, answered, failed] =
        [&outcomes.made, &outcomes.answered, &outcomes.failed].map(|n| n.load(Ordering::Relaxed));
    eprintln!("{time:?}: {made} calls, {answered} answered, {failed} failed");
    assert_eq!(made, answered + failed, "each call has an outcome");
    assert!(answered > made / 4, "of those that can be answered most are");
}

/// Waits until only the steady ones are left, connected to each other, nothing runs, and no more is held than that. What is held in the end
/// if it is more.
async fn calm(steady: &[Steady], most: Option<Held>) -> Result<Held, Held> {
    let others = steady.len() - 1;
    let began = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let held = Held::now();
        let quiet = steady.iter().all(|one| {
            one.count.alive() == 0 && one.node.members().len() == others && one.node.connections().len() == others
        });
        if quiet && most.is_none_or(|most| held.is_within(most)) && began.elapsed() > SETTLES {
            return Ok(held);
        }
        if quiet && began.elapsed() > CALM {
            return Err(held);
        }
        let connections: Vec<usize> = steady.iter().map(|one| one.node.connections().len()).collect();
        assert!(began.elapsed() < 2 * CALM, "{held:?} after {most:?}, connections {connections:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_give_back_what_they_took_and_no_call_is_without_an_outcome() {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
    let mut steady = vec![Steady::start(&[]).await];
    for _ in 1..STEADY {
        let bootstrap = [steady[0].address()];
        steady.push(Steady::start(&bootstrap).await);
    }
    for one in &steady {
        let met = one.node.watch_members().filter(|members| std::future::ready(members.len() == STEADY - 1));
        soon("they meet", std::pin::pin!(met).next()).await;
    }
    // The first half shows how much is held when all is well.
    let half = Duration::from_secs(seconds) / 2;
    round(&steady, half).await;
    let mut before = calm(&steady, None).await.expect("nothing is too much yet");
    // On a busy machine the first half may have been a quiet one. What leaks grows each time.
    for _ in 0..3 {
        round(&steady, half).await;
        match calm(&steady, Some(before)).await {
            Ok(after) => return eprintln!("before {before:?}, after {after:?}"),
            Err(more) => {
                eprintln!("before {before:?}, after {more:?}: is it more after another round?");
                before = more;
            }
        }
    }
    panic!("it grows and grows: {before:?}");
}
