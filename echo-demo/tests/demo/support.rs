//! A running program, and what it prints.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) use p2prpc_tests::programs::{Program, end_of};
use serde_json::Value;

/// For what has no bound of its own: a loaded machine is slow.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/";

pub(crate) fn command(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_echo-demo"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// One node that prints JSON and calls all others five times a second.
pub(crate) struct Peer {
    pub(crate) program: Program,
    pub(crate) id: String,
}

impl Peer {
    pub(crate) fn start(args: &[&str]) -> Self {
        let program = Program::start(command(["--json", "--interval", "200ms"].iter().chain(args)));
        let id = program.out.find(0, SOON, |line| Some(event(line)["node"].as_str()?.to_owned()));
        let id = id.unwrap_or_else(|| panic!("no first line: {program}"));
        Peer { program, id }
    }

    /// One that knows this address and nobody else.
    pub(crate) fn joining(address: &str) -> Self {
        Peer::start(&["--peer", address])
    }

    /// Its address that begins like this.
    pub(crate) fn address(&self, prefix: &str) -> String {
        self.wait_from(0, SOON, "listening", |event| event["address"].as_str()?.starts_with(prefix).then_some(()))
            ["address"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Where it is in what it has to tell: what comes later is news.
    pub(crate) fn now(&self) -> usize {
        self.program.out.len()
    }

    /// Waits for an event of `name` from `from` on.
    pub(crate) fn wait_from(
        &self,
        from: usize,
        within: Duration,
        name: &str,
        wanted: impl Fn(&Value) -> Option<()>,
    ) -> Value {
        let found = self.program.out.find(from, within, |line| {
            let event = event(line);
            (event["event"] == name && wanted(&event).is_some()).then_some(event)
        });
        found.unwrap_or_else(|| panic!("{} waited {within:?} for `{name}` in vain: {}", self.id, self.program))
    }

    /// Waits for an event of `name` about `peer`, from `from` on.
    pub(crate) fn wait_about(&self, from: usize, within: Duration, name: &str, peer: &Peer) -> Value {
        self.wait_from(from, within, name, |event| (event["peer"] == peer.id.as_str()).then_some(()))
    }

    /// Waits for an echo of `peer` to a call that was made from now on.
    pub(crate) fn wait_for_new_echo_of(&self, peer: &Peer, within: Duration) {
        let now = self.now();
        let rounds = |line: &String| event(line)["round"].as_u64();
        let last = self.program.out.all().iter().filter_map(rounds).max().unwrap_or(0);
        self.wait_from(now, within, "echo", |event| {
            (event["peer"] == peer.id.as_str() && event["round"].as_u64()? > last + 1).then_some(())
        });
    }

    /// All that it told so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.program.out.all().iter().map(|line| event(line)).collect()
    }
}

/// A line of stdout with `--json`.
pub(crate) fn event(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(value.is_object(), "{line}");
    value
}

/// Waits until each has echoed each.
pub(crate) fn wait_for_echoes_of_all(peers: &[&Peer], within: Duration) {
    for one in peers {
        for other in peers.iter().filter(|other| other.id != one.id) {
            one.wait_about(0, within, "echo", other);
        }
    }
}

/// A port that is free for both transports, below those that the system gives to outgoing connections.
pub(crate) fn free_port() -> u16 {
    loop {
        let next = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let candidate = 10_000 + ((std::process::id() + next) % 20_000) as u16;
        let socket = (Ipv4Addr::UNSPECIFIED, candidate);
        if TcpListener::bind(socket).is_ok() && UdpSocket::bind(socket).is_ok() {
            return candidate;
        }
    }
}

static NEXT_PORT: AtomicU32 = AtomicU32::new(0);
