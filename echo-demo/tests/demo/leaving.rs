//! How the program ends.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Peer, Program, SOON, TCP, command, end_of, event};

/// Less than it takes to notice that somebody is gone who didn't say so.
const POLITELY: Duration = Duration::from_secs(4);
/// More than a pipe holds.
const MANY_BYTES: usize = 100_000;

#[test]
fn signals_end_it_politely() {
    let first = Peer::start(&[]);
    let address = first.address(TCP);
    let mut leavers = [Signal::INT, Signal::TERM, Signal::HUP].map(|signal| (signal, Peer::joining(&address)));
    for (_, leaver) in &leavers {
        first.wait_about(0, SOON, "echo", leaver);
        leaver.wait_about(0, SOON, "echo", &first);
    }
    for (signal, leaver) in &mut leavers {
        let before = first.now();
        leaver.program.signal(*signal);
        first.wait_about(before, POLITELY, "peer_left", leaver);
        assert_eq!(leaver.program.end(SOON).code(), Some(0), "{signal:?}: {}", leaver.program);
        let last = event(leaver.program.out.all().last().unwrap());
        assert_eq!(last["event"], "summary", "{}", leaver.program);
        assert!(last["calls"].as_u64() > Some(0), "{last}");
    }
}

#[test]
fn it_ends_by_itself_after_its_rounds() {
    let first = Peer::start(&[]);
    let mut second = Peer::start(&["--peer", &first.address(TCP), "--rounds", "10"]);
    assert_eq!(second.program.end(SOON).code(), Some(0), "{}", second.program);
    let rounds: Vec<_> = second.events().iter().filter_map(|event| event["round"].as_u64()).collect();
    assert_eq!(rounds.last(), Some(&10), "{}", second.program);
    first.wait_about(0, SOON, "peer_left", &second);
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let first = Peer::start(&[]);
    let message = "x".repeat(MANY_BYTES);
    let address = first.address(TCP);
    // It can't end politely: it has more to print than anybody reads.
    let child = command(["--interval", "50ms", "--json", "--message", &message, "--peer", &address])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stuck = Guard(child);
    let mut out = BufReader::new(stuck.0.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(r#""event":"echo""#) {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "it ended");
    }
    let id = event(&line)["node"].as_str().unwrap().to_owned();

    let pid = Pid::from_child(&stuck.0);
    kill_process(pid, Signal::INT).unwrap();
    first.wait_from(0, SOON, "peer_left", |event| (event["peer"] == id.as_str()).then_some(()));
    assert!(stuck.0.try_wait().unwrap().is_none(), "it ended with a reader that is stuck");
    kill_process(pid, Signal::INT).unwrap();
    let status = end_of(&mut stuck.0, POLITELY).expect("it still runs after the second Ctrl-C");
    assert_eq!(status.code(), Some(130));
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let mut child = Guard(
        command(["--rounds", "3", "--interval", "100ms"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    drop(child.0.stdout.take());
    let status = end_of(&mut child.0, SOON).expect("it still runs");
    assert_eq!(status.code(), Some(0));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.0.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(said, "");
}

#[test]
fn logs_are_on_stderr() {
    let mut command = command(["--json", "--rounds", "1", "--interval", "50ms"]);
    command.env("RUST_LOG", "debug");
    let mut program = Program::start(command);
    assert_eq!(program.end(SOON).code(), Some(0), "{program}");
    assert!(program.err.all().iter().any(|line| line.contains("DEBUG")), "{program}");
    for line in program.out.all() {
        event(&line);
    }
}

/// Ends with the test.
struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
