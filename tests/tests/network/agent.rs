//! Programs on hosts, and what they say.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use p2prpc_tests::network::Host;
use p2prpc_tests::programs::Program;
#[cfg(unix)]
use p2prpc_tests::programs::Signal;
use serde_json::Value;

use super::node::now;
use super::{Family, Transport};

/// Longer than a program needs for anything but what is measured.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two calls of a peer that is watched, and the time that each has.
pub(crate) const EVERY: Duration = Duration::from_millis(500);
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_millis(1500);

/// This program in one of its other roles, on a host.
fn command(host: &Host<'_>, role: &str) -> Command {
    let mut command = host.command(&std::env::current_exe().expect("this program is a file"));
    command.arg(format!("{}{role}", super::ROLE)).stdin(Stdio::piped());
    command
}

/// A node on a host.
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) peer: String,
    pub(crate) addresses: Vec<String>,
    program: Program,
    questions: AtomicU64,
}

/// How a node is started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    transport: Transport,
    family: Family,
    bootstrap: Vec<String>,
    seed: Option<u64>,
    rendezvous: bool,
}

impl Start {
    pub(crate) fn new(transport: Transport) -> Self {
        Start { transport, family: Family::V4, bootstrap: Vec::new(), seed: None, rendezvous: true }
    }

    pub(crate) fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    pub(crate) fn bootstrap(mut self, addresses: impl IntoIterator<Item = String>) -> Self {
        self.bootstrap.extend(addresses);
        self
    }

    pub(crate) fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn no_rendezvous(mut self) -> Self {
        self.rendezvous = false;
        self
    }

    /// Starts it as `host`'s only node, named after it.
    pub(crate) fn on(&self, host: &Host<'_>) -> Agent {
        let mut command = command(host, "node");
        command.args(["--name", host.name()]);
        for address in self.transport.listen(self.family) {
            command.args(["--listen", address]);
        }
        for address in &self.bootstrap {
            command.args(["--bootstrap", address]);
        }
        if let Some(seed) = self.seed {
            command.args(["--seed", &seed.to_string()]);
        }
        if self.rendezvous {
            command.arg("--rendezvous");
        }
        Agent::start(host.name(), command)
    }
}

impl Agent {
    fn start(name: &str, command: Command) -> Self {
        let program = Program::start(command);
        let started = program.out.find(0, PATIENCE, |line| event(line, "started"));
        let started = started.unwrap_or_else(|| panic!("{name} doesn't start: {program}"));
        let peer = text(&started["peer"]);
        let addresses = texts(&started["addresses"]);
        Agent { name: name.to_owned(), peer, addresses, program, questions: AtomicU64::new(0) }
    }

    /// Another program on a host: `names`, `link`, `crowd`.
    pub(crate) fn helper(host: &Host<'_>, role: &str, arguments: &[&str]) -> Self {
        let mut command = command(host, role);
        command.args(arguments);
        Agent::start(host.name(), command)
    }

    /// Where it listens at one of its host's addresses, with its peer id.
    pub(crate) fn at(&self, ip: &str) -> Vec<String> {
        let part = format!("/{ip}/");
        let at: Vec<String> = self.addresses.iter().filter(|address| address.contains(&part)).cloned().collect();
        assert!(!at.is_empty(), "{} doesn't listen at {ip}: {:?}", self.name, self.addresses);
        at
    }

    fn say(&self, question: u64, line: &str) {
        self.program.say(&format!("{question} {line}"));
    }

    fn ask(&self, line: &str, within: Duration) -> Value {
        let question = self.questions.fetch_add(1, Ordering::Relaxed);
        let from = self.program.out.len();
        self.say(question, line);
        let answer = |line: &str| event(line, "answer").filter(|answer| answer["question"] == question);
        let answer = self.program.out.find(from, within, answer);
        answer.unwrap_or_else(|| panic!("{} doesn't answer {line:?} within {within:?}", self.name))
    }

    pub(crate) fn members(&self) -> Vec<String> {
        texts(&self.ask("members", PATIENCE)["members"])
    }

    /// File descriptors, and memory in kB.
    pub(crate) fn usage(&self) -> (u64, u64) {
        let usage = self.ask("usage", PATIENCE);
        (usage["descriptors"].as_u64().unwrap(), usage["memory"].as_u64().unwrap())
    }

    /// Its connections with a peer.
    pub(crate) fn connections(&self, peer: &str) -> Vec<Connection> {
        let answer = self.ask(&format!("connections {peer}"), PATIENCE);
        answer["connections"].as_array().into_iter().flatten().map(Connection::from).collect()
    }

    /// Makes another connection to whoever is there: an address that names its peer would do with the one that it has.
    pub(crate) fn connect_again(&self, other: &Agent, ip: &str) {
        for address in other.at(ip) {
            let bare = address.split("/p2p/").next().unwrap_or_default();
            let answer = self.ask(&format!("connect {bare}"), PATIENCE);
            assert!(answer["error"].is_null(), "{} can't connect to {bare}: {answer}", self.name);
        }
    }

    /// Connects to a peer that it needn't know.
    pub(crate) fn connect(&self, address: &str) {
        let answer = self.ask(&format!("connect {address}"), PATIENCE);
        assert!(answer["error"].is_null(), "{} can't connect to {address}: {answer}", self.name);
    }

    /// Calls a method that says nothing for so long.
    pub(crate) fn rest(&self, peer: &str, rest: Duration, timeout: Duration) -> Result<(), String> {
        let line = format!("rest {peer} {} {}", rest.as_millis(), timeout.as_millis());
        let answer = self.ask(&line, timeout + PATIENCE);
        answer["error"].as_str().map_or(Ok(()), |error| Err(error.to_owned()))
    }

    /// Calls a peer twice a second from now on.
    pub(crate) fn watch(&self, peer: &str) {
        self.watch_every(peer, EVERY, CALL_TIMEOUT);
    }

    pub(crate) fn watch_every(&self, peer: &str, every: Duration, timeout: Duration) {
        self.say(0, &format!("watch {peer} {} {}", every.as_millis(), timeout.as_millis()));
    }

    /// The calls to a peer that have ended, in the order of their beginnings.
    pub(crate) fn calls(&self, peer: &str) -> Vec<Called> {
        let lines = self.program.out.all();
        let calls = lines.iter().filter_map(|line| event(line, "call")).filter(|call| call["to"] == peer);
        let mut calls: Vec<Called> = calls.map(|call| Called::from(&call)).collect();
        calls.sort_by_key(|call| call.begun);
        calls
    }

    /// What its node said of a kind since then: `PeerLeft`.
    pub(crate) fn events(&self, kind: &str, since: u64) -> Vec<String> {
        let lines = self.program.out.all();
        let events = lines.iter().filter_map(|line| event(line, "node"));
        let wanted = events.filter(|event| event["kind"] == kind && event["at"].as_u64() >= Some(since));
        wanted.map(|event| text(&event["text"])).collect()
    }

    /// How many guests of a crowd were answered so far.
    pub(crate) fn guests(&self) -> u64 {
        let lines = self.program.out.all();
        let last = lines.iter().rev().find_map(|line| event(line, "crowd"));
        last.and_then(|crowd| crowd["met"].as_u64()).unwrap_or_default()
    }

    /// When a canary's datagrams took long.
    pub(crate) fn stalls(&self) -> Vec<(u64, u64)> {
        let lines = self.program.out.all();
        let stalls = lines.iter().filter_map(|line| event(line, "stall"));
        stalls.filter_map(|stall| Some((stall["begun"].as_u64()?, stall["at"].as_u64()?))).collect()
    }

    /// Makes a link stand still.
    pub(crate) fn stall(&self, stall: Duration) {
        self.program.say(&format!("stall {}", stall.as_millis()));
    }

    /// Makes a link lose what belongs to the connections over it, without a word. New ones are as any.
    pub(crate) fn forget(&self) {
        self.program.say("forget");
    }

    /// Stops it where it stands.
    #[cfg(unix)]
    pub(crate) fn pause(&self) {
        self.program.signal(Signal::STOP);
    }

    /// Takes back `pause`.
    #[cfg(unix)]
    pub(crate) fn resume(&self) {
        self.program.signal(Signal::CONT);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.program.kill();
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("name", &self.name).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Where `P2PRPC_LAB_LOGS` says, what a node said is kept.
impl Drop for Agent {
    fn drop(&mut self) {
        let Some(directory) = std::env::var_os("P2PRPC_LAB_LOGS") else { return };
        let scenario = super::scenario_name();
        let file = PathBuf::from(directory).join(format!("{scenario}-{}-{}.log", self.name, self.program.id()));
        if let Err(error) = std::fs::write(&file, self.program.to_string()) {
            eprintln!("{}: {error}", file.display());
        }
    }
}

/// A call that has ended, its times in milliseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    /// The name of who answered, or why nobody did.
    pub(crate) result: Result<String, String>,
}

impl From<&Value> for Called {
    fn from(call: &Value) -> Self {
        Called {
            begun: call["begun"].as_u64().unwrap_or_default(),
            ended: call["at"].as_u64().unwrap_or_default(),
            result: call["name"].as_str().map(str::to_owned).ok_or_else(|| text(&call["error"])),
        }
    }
}

/// A connection of a node.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// The other end.
    pub(crate) address: String,
    /// Milliseconds that it has been there.
    pub(crate) age: u64,
    /// Milliseconds since anything came.
    pub(crate) silent: u64,
    pub(crate) suspected: bool,
    pub(crate) carries: bool,
}

impl Connection {
    /// True if it goes there.
    pub(crate) fn is_with(&self, ip: &str) -> bool {
        self.address.contains(&format!("/{ip}/"))
    }
}

impl From<&Value> for Connection {
    fn from(connection: &Value) -> Self {
        Connection {
            address: text(&connection["address"]),
            age: connection["age"].as_u64().unwrap_or_default(),
            silent: connection["silent"].as_u64().unwrap_or_default(),
            suspected: connection["suspected"].as_bool().unwrap_or_default(),
            carries: connection["carries"].as_bool().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connection { address, age, silent, suspected, carries } = self;
        let carries = if *carries { ", carries calls" } else { "" };
        let suspected = if *suspected { ", suspected" } else { "" };
        write!(f, "{address} for {age} ms, silent for {silent} ms{carries}{suspected}")
    }
}

fn event(line: &str, event: &str) -> Option<Value> {
    serde_json::from_str(line).ok().filter(|line: &Value| line["event"] == event)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// Waits until it is so, and gives how long that took. `None` if it took too long.
pub(crate) fn until(within: Duration, mut is: impl FnMut() -> bool) -> Option<Duration> {
    let begun = now();
    loop {
        let passed = Duration::from_millis(now().saturating_sub(begun));
        if is() {
            return Some(passed);
        }
        if passed > within {
            return None;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until each has all others as members.
pub(crate) fn meet(agents: &[&Agent]) {
    let took = meeting(agents, PATIENCE);
    assert!(took.is_some(), "they don't meet: {}", members_of(agents));
}

/// How long it takes until each has all others as members.
pub(crate) fn meeting(agents: &[&Agent], within: Duration) -> Option<Duration> {
    until(within, || {
        agents.iter().all(|agent| {
            let members = agent.members();
            agents.iter().all(|other| other.peer == agent.peer || members.contains(&other.peer))
        })
    })
}

/// Who has whom as a member.
pub(crate) fn members_of(agents: &[&Agent]) -> String {
    let names = |agent: &Agent| {
        let members = agent.members();
        let names = agents.iter().filter(|other| members.contains(&other.peer)).map(|other| other.name.as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    agents.iter().map(|agent| format!("{}: {}", agent.name, names(agent))).collect::<Vec<_>>().join(", ")
}
