//! Networks break, and nodes on them go on calling each other.
//!
//! Each test makes a network of its own out of namespaces ([`p2prpc_tests::network`]), starts nodes there (this program again, in another
//! role), breaks something, and watches calls in both directions twice a second. It is measured from the moment when the
//! network is there again how long calls go on failing: [`Transport::goal`] is what nodes promise, [`MARGIN`] is for loaded machines.
//! They must work for 10 s from then on. Calls that fail while the machine is too busy to carry a datagram ([`canary`]) count for nothing.
//!
//! Where no network can be made, the tests are ignored and one line says why; with `CI=true` on Linux that is a failure.
//!
//! - `P2PRPC_LAB_ROUNDS=5`: each test so many times in a row.
//! - `P2PRPC_LAB_LOGS=DIRECTORY`: what each node printed is kept there, with `RUST_LOG=p2prpc=debug` its log too.
//! - `P2PRPC_LAB_LONG=1`: waits that are shortened else take as long as what they stand for.

mod agent;
mod canary;
mod idle;
mod late;
mod moved;
mod nameserver;
mod naming;
mod node;
mod outage;
mod paths;
mod slow;
mod steady;
mod told;
mod watching;
mod wifi;

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use p2prpc_tests::network;

/// Added to each goal: a machine that runs many tests at once is late with everything.
const MARGIN: Duration = Duration::from_secs(2);
/// Tests that run at once unless `--test-threads` says otherwise: nearly all of their time is waiting.
const AT_ONCE: usize = 20;
/// What the first argument begins with where this program isn't the test.
const ROLE: &str = "role:";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if let Some(role) = arguments.next().as_deref().and_then(|first| first.strip_prefix(ROLE)) {
        return play(role, arguments.collect());
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let missing = network::missing();
    let required = cfg!(target_os = "linux") && std::env::var_os("CI").is_some_and(|value| value == "true");
    match &missing {
        Some(why) => eprintln!("{why}"),
        None => network::tidy(),
    }
    if missing.is_some() && required && !arguments.list {
        return ExitCode::FAILURE;
    }
    let trials = trials().into_iter().map(|trial| trial.with_ignored_flag(missing.is_some())).collect();
    let run = || libtest_mimic::run(&arguments, trials).exit_code();
    if missing.is_some() || arguments.list { run() } else { canary::watching(run) }
}

fn play(role: &str, arguments: Vec<String>) -> ExitCode {
    match role {
        "node" => node::run(node::node(arguments)),
        "link" => node::run(slow::link(arguments)),
        "crowd" => with_the_test(|| node::run(node::crowd(arguments))),
        "stranger" => with_the_test(|| node::run(told::stranger(arguments))),
        "names" => with_the_test(|| node::run(async move { nameserver::serve(&arguments) })),
        "canary" => with_the_test(|| node::run(async move { canary::canary(&arguments) })),
        "echo" => with_the_test(|| node::run(async move { canary::echo(&arguments) })),
        _ => {
            eprintln!("{role} is no role");
            ExitCode::FAILURE
        }
    }
}

/// Runs a program that isn't told anything, until the test is gone.
fn with_the_test(program: impl FnOnce() -> ExitCode) -> ExitCode {
    std::thread::spawn(|| {
        // Its end is the end of the test, however that came.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    program()
}

/// The longest come first, so that nothing waits for them in the end.
fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for transport in [Transport::Tcp, Transport::Quic] {
        trials.extend(idle::trials(transport));
        trials.extend(outage::trials(transport));
        trials.extend(steady::trials(transport));
        trials.extend(naming::trials(transport));
    }
    for transport in [Transport::Tcp, Transport::Quic, Transport::Both] {
        trials.extend(wifi::trials(transport));
        trials.extend(paths::trials(transport));
        trials.extend(moved::trials(transport));
        trials.extend(late::trials(transport));
        trials.extend(told::trials(transport));
    }
    for transport in [Transport::Tcp, Transport::Quic] {
        trials.extend(steady::busy_trials(transport));
    }
    trials
}

/// What nodes listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Quic,
    Both,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Quic => "quic",
            Transport::Both => "both",
        }
    }

    fn listen(self, family: Family) -> &'static [&'static str] {
        const V4: &[&str] = &["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"];
        const V6: &[&str] = &["/ip6/::/tcp/4001", "/ip6/::/udp/4001/quic-v1"];
        let all = match family {
            Family::V4 => V4,
            Family::V6 => V6,
        };
        match self {
            Transport::Tcp => &all[..1],
            Transport::Quic => &all[1..],
            Transport::Both => all,
        }
    }

    /// Calls work again so soon after the network is there again.
    fn goal(self) -> Duration {
        match self {
            Transport::Tcp | Transport::Both => Duration::from_secs(6),
            Transport::Quic => Duration::from_secs(3),
        }
    }
}

/// Which addresses a network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

thread_local! {
    static SCENARIO: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Of the test that runs in this thread.
fn scenario_name() -> String {
    SCENARIO.with_borrow(Clone::clone)
}

/// A test that gives the figures it measured. A panic is its failure.
fn trial(transport: Transport, name: &str, test: impl Fn(Transport) -> String + Send + 'static) -> Trial {
    let name = format!("{name}_over_{}", transport.name());
    Trial::test(name.clone(), move || {
        let rounds = std::env::var("P2PRPC_LAB_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
        for round in 1..=rounds {
            SCENARIO.set(if rounds == 1 { name.clone() } else { format!("{name}-{round}") });
            let begun = Instant::now();
            let figures = test(transport);
            eprintln!("{} took {:.0} s: {figures}", scenario_name(), begun.elapsed().as_secs_f64());
        }
        Ok(())
    })
}

/// True if waits are to be as long as what they stand for.
fn long() -> bool {
    std::env::var_os("P2PRPC_LAB_LONG").is_some_and(|value| value == "1")
}
