//! What each way to do harm costs those beside it: a node, who attacks it and who calls it are processes of their own.
//!
//! Each test prints the slowest of a hundred honest calls (p99) before and beside the attack, how long a newcomer took to be answered, and the
//! memory that the node took before, at the most, and after. They fail where somebody is hurt; how little it is, is for the reader:
//! a small machine's processors are shared with who attacks. `P2PRPC_ROWS_SECONDS=20` attacks for so long; the default is 2.

mod attacks;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use libtest_mimic::{Arguments, Trial};
use p2prpc::prelude::*;
use p2prpc_tests::hostile::{PROTOCOL, Probe, TargetClient, TargetServer};
use p2prpc_tests::programs::Program;

/// What the first argument begins with where this program isn't the test.
const ROLE: &str = "role:";
pub(crate) const RENDEZVOUS: &str = "hostile/rows";
const STARTS_WITHIN: Duration = Duration::from_secs(20);
/// Nobody is hurt so far: a loaded machine is this late by itself.
const P99: Duration = Duration::from_millis(250);
const NEWCOMER: Duration = Duration::from_secs(5);
/// Eight bodies of 4 MiB, and what they are decoded into.
const GROWTH: u64 = 256 << 20;
/// What an allocator keeps once 768 connections are gone, and gives to the next ones.
const LEFT_OVER: u64 = 64 << 20;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if let Some(role) = arguments.next().as_deref().and_then(|first| first.strip_prefix(ROLE)) {
        return play(role, arguments.next());
    }
    let mut arguments = Arguments::from_args();
    // They measure, one after the other.
    arguments.test_threads = Some(1);
    let rows = attacks::all().into_keys().map(|name| Trial::test(name, move || row(name)));
    libtest_mimic::run(&arguments, rows.collect()).exit_code()
}

fn play(role: &str, argument: Option<String>) -> ExitCode {
    std::thread::spawn(|| {
        // The end of the test is the end of its programs.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    // Who attacks mostly has a machine of its own: of this one it has what the others leave.
    #[cfg(unix)]
    if role != "node" {
        let _ = rustix::process::nice(19);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match (role, argument.and_then(|address| address.parse::<Multiaddr>().ok())) {
        ("node", None) => runtime.block_on(async {
            let node = builder().rendezvous(RENDEZVOUS).start().await.expect("a node starts");
            let address = node.addresses().remove(0).with_p2p(node.peer_id()).expect("it has no other id");
            println!("{address}");
            std::future::pending::<()>().await;
        }),
        (attack, Some(address)) => match attacks::all().remove(attack) {
            Some(attack) => runtime.block_on(attack(address)),
            None => return ExitCode::FAILURE,
        },
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

pub(crate) fn builder() -> p2prpc::NodeBuilder {
    Node::builder().protocol(PROTOCOL).listen("/ip4/127.0.0.1/tcp/0").serve(TargetServer::new(Probe::default()))
}

pub(crate) fn id_of(address: &Multiaddr) -> PeerId {
    let id = address.iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::P2p(peer) => Some(peer),
        _ => None,
    });
    id.expect("the address names its peer")
}

fn program(role: &str, address: Option<&Multiaddr>) -> Program {
    let mut command = Command::new(std::env::current_exe().expect("this program is a file"));
    command.arg(format!("{ROLE}{role}")).args(address.map(Multiaddr::to_string)).stdin(Stdio::piped());
    Program::start(command)
}

/// An honest caller, and how long its calls take.
struct Caller {
    node: Node,
    to: PeerId,
}

impl Caller {
    async fn start(to: &Multiaddr) -> Self {
        let node = builder().start().await.expect("a node starts");
        node.connect(to.clone()).await.expect("an honest peer is let in");
        Caller { node, to: id_of(to) }
    }

    /// Calls for so long. None may fail.
    async fn p99(&self, time: Duration) -> Duration {
        let stub = TargetClient::new(&self.node).timeout(Duration::from_secs(10)).peer(self.to);
        let (mut took, until) = (Vec::new(), Instant::now() + time);
        while Instant::now() < until {
            let begun = Instant::now();
            assert_eq!(stub.echo("honest".into()).await.expect("an honest call"), "honest");
            took.push(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }
}

fn row(name: &'static str) -> Result<(), libtest_mimic::Failed> {
    let seconds = std::env::var("P2PRPC_ROWS_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(2);
    let time = Duration::from_secs(seconds);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let victim = program("node", None);
        let address: Multiaddr =
            victim.out.find(0, STARTS_WITHIN, |line| line.parse().ok()).expect("the node says where it is");
        let caller = Caller::start(&address).await;
        let before = caller.p99(time).await;
        let resident = || victim.resident().unwrap_or_default();
        let memory = resident();
        let mut attacker = program(name, Some(&address));
        attacker.out.find(0, STARTS_WITHIN, |line| (line == "begun").then_some(())).expect("the attack begins");
        let newcomer = async {
            let begun = Instant::now();
            let newcomer = Caller::start(&address).await;
            newcomer.p99(Duration::from_millis(50)).await;
            newcomer.node.shutdown(Duration::ZERO).await;
            begun.elapsed()
        };
        let ((beside, most), newcomer) = tokio::join!(
            async {
                let beside = caller.p99(time).await;
                (beside, resident())
            },
            newcomer
        );
        attacker.kill();
        let settled = Instant::now() + time * 5;
        while resident() > memory + memory / 10 && Instant::now() < settled {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let after = resident();
        let mib = |bytes: u64| bytes >> 20;
        eprintln!(
            "{name}: p99 {before:.1?} -> {beside:.1?}, a newcomer after {newcomer:.1?}, {} -> {} -> {} MiB",
            mib(memory),
            mib(most),
            mib(after)
        );
        assert!(beside < P99.max(before * 3), "honest calls take {beside:?}");
        assert!(newcomer < NEWCOMER, "a newcomer takes {newcomer:?}");
        assert!(most < memory + GROWTH, "it took {} MiB", mib(most));
        assert!(after < memory + LEFT_OVER, "{} MiB are left", mib(after));
    });
    Ok(())
}

/// What an attack is called, and what it does to who is there.
type Attacks = BTreeMap<&'static str, fn(Multiaddr) -> libp2p::futures::future::BoxFuture<'static, ()>>;
