//! A node of the echo application, whatever it is written in: all print the same lines.

use std::fmt;
use std::process::{Command, Stdio};
use std::time::Duration;

use p2prpc_tests::golang;
use p2prpc_tests::programs::Program;

/// For what has no bound of its own: a loaded machine is slow.
const SOON: Duration = Duration::from_secs(60);

/// What a node is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rust,
    Go,
    /// With the libraries of January 2021.
    Go2021,
}

/// A running node.
pub(crate) struct Node {
    kind: Kind,
    pub(crate) id: String,
    pub(crate) program: Program,
}

impl Node {
    /// Starts one that knows this address and nobody else.
    pub(crate) fn start(kind: Kind, bootstrap: Option<&str>) -> Node {
        let mut command = match kind {
            Kind::Rust => Command::new(env!("CARGO_BIN_EXE_echo-demo")),
            Kind::Go => Command::new(golang::interop()),
            Kind::Go2021 => Command::new(golang::echo_of_2021()),
        };
        if kind == Kind::Go {
            command.arg("echo");
        }
        if let Some(address) = bootstrap {
            // As Go wants it too: with one dash it is a flag there, and with two everywhere.
            command.args(["--peer", address]);
        }
        // A node of Go ends when its stdin does.
        command.env_remove("RUST_LOG").stdin(Stdio::piped());
        let program = Program::start(command);
        let id = program.out.find(0, SOON, |line| line.strip_prefix("Host ID: ").map(str::to_owned));
        let id = id.unwrap_or_else(|| panic!("no first line: {program}"));
        Node { kind, id, program }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.kind == Kind::Rust
    }

    /// Where others join through it, by TCP.
    pub(crate) fn address(&self) -> String {
        let found = self.program.out.find(0, SOON, |line| {
            let start = line.find("/ip4/127.0.0.1/tcp/")?;
            Some(line[start..].trim().to_owned())
        });
        found.unwrap_or_else(|| panic!("no address: {}", self.program))
    }

    /// Where it is in what it has to tell.
    pub(crate) fn now(&self) -> usize {
        self.program.out.len()
    }

    /// Waits until the other has answered so many calls.
    pub(crate) fn is_echoed_by(&self, other: &Node, times: usize, within: Duration) -> bool {
        let mut left = times;
        let counted = self.program.out.find(0, within, |line| {
            left -= usize::from(self.is_echo(line, other));
            (left == 0).then_some(())
        });
        counted.is_some()
    }

    /// Waits for an answer from `from` on.
    pub(crate) fn is_echoed_again_by(&self, other: &Node, from: usize, within: Duration) -> bool {
        self.program.out.find(from, within, |line| self.is_echo(line, other).then_some(())).is_some()
    }

    /// The text is what every node answers, with the message that this one sent.
    fn is_echo(&self, line: &str, other: &Node) -> bool {
        let (own, other) = (&self.id, &other.id);
        line.strip_prefix(&format!("Peer {other} echoed: Peer {other} echoing: Message ("))
            .is_some_and(|rest| rest.contains(&format!("): Hello from {own}")))
    }

    /// Waits for the line about it, from `from` on.
    pub(crate) fn says_that_it_left(&self, other: &Node, from: usize, within: Duration) -> bool {
        let left = format!("Peer {} left", other.id);
        self.program.out.find(from, within, |line| (line == left).then_some(())).is_some()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.id)
    }
}
