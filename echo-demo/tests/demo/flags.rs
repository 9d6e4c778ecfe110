//! What can't be done is one sentence that names the flag and says what it wants, and exit code 2.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::Command;

use crate::support::{Peer, Program, SOON, TCP, command, free_port};

const PEER_ID: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

/// The sentence.
fn refused_by(command: Command) -> String {
    let mut program = Program::start(command);
    let status = program.end(SOON);
    assert_eq!(status.code(), Some(2), "{program}");
    assert!(program.out.all().is_empty(), "{program}");
    let lines = program.err.all();
    assert_eq!(lines.len(), 1, "{program}");
    lines[0].strip_prefix("echo-demo: ").unwrap_or_else(|| panic!("{program}")).to_owned()
}

#[track_caller]
fn assert_refused(args: &[&str], flag_and_what_it_wants: &str, given: &str) {
    let sentence = refused_by(command(args));
    assert!(sentence.starts_with(flag_and_what_it_wants), "{sentence}");
    assert!(sentence.contains(given), "{sentence}");
}

#[test]
fn a_port_past_the_last() {
    assert_refused(&["--port", "99999"], "--port wants a port number from 0 to 65535", "99999");
}

#[test]
fn a_peer_without_an_id() {
    let address = "/ip4/127.0.0.1/tcp/4001";
    assert_refused(&["--peer", address], "--peer wants a multiaddr that ends with the peer's id", address);
}

#[test]
fn a_peer_that_can_not_be_dialled() {
    let address = format!("/ip4/127.0.0.1/tcp/0/p2p/{PEER_ID}");
    assert_refused(&["--peer", &address], "--peer wants an address that can be dialled", &address);
}

#[test]
fn a_protocol_id_without_a_slash() {
    assert_refused(&["--protocolid", "rpc"], "--protocolid wants a protocol id, which begins with a /", "rpc");
}

#[test]
fn an_empty_rendezvous() {
    assert_refused(&["--rendezvous", ""], "--rendezvous wants a text", "``");
}

#[test]
fn an_identity_file_that_is_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    assert_refused(&["--identity", path], "--identity wants a file", path);
}

#[test]
fn an_identity_file_that_holds_rubbish() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rubbish");
    std::fs::write(&path, "not a key").unwrap();
    let path = path.to_str().unwrap();
    assert_refused(&["--identity", path], "--identity wants a file", path);
}

#[test]
fn an_identity_file_beside_a_seed() {
    assert_refused(&["--identity", "key", "--seed", "7"], "--identity wants no --seed beside it", "");
}

#[test]
fn a_tcp_port_in_use() {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    assert_refused(&["--port", &port], "--port wants a free port", &port);
}

#[test]
fn a_tcp_port_in_use_by_another_node() {
    let port = free_port().to_string();
    let first = Peer::start(&["--port", &port]);
    first.address(TCP);
    assert_refused(&["--port", &port], "--port wants a free port", &port);
}

#[test]
fn a_udp_port_in_use() {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    assert_refused(&["--port", &port], "--port wants a free port", &port);
}

#[test]
fn an_interval_without_a_unit() {
    assert_refused(&["--interval", "5"], "--interval wants a duration", "`5`");
}

#[test]
fn no_rounds() {
    assert_refused(&["--rounds", "0"], "--rounds wants a number of rounds, 1 or more", "`0`");
}

#[test]
fn a_swarm_of_none_and_one_of_too_many() {
    assert_refused(&["swarm", "0"], "swarm wants a number of nodes from 1 to 100", "`0`");
    assert_refused(&["swarm", "101"], "swarm wants a number of nodes from 1 to 100", "`101`");
}

#[test]
fn a_flag_that_is_not_there() {
    assert_refused(&["--prot", "1"], "there is no `--prot` here", "--help");
}

#[test]
fn a_log_level_that_is_none() {
    let mut command = command([""; 0]);
    command.env("RUST_LOG", "p2prpc=loud");
    assert!(refused_by(command).starts_with("RUST_LOG wants a level"));
}

#[test]
fn terminal_escapes_in_a_flag_are_shown_harmlessly() {
    assert_refused(&["--port", "\u{1b}[2J"], "--port wants a port number", "\\u{1b}[2J");
}

#[test]
fn help_is_no_error() {
    let mut program = Program::start(command(["--help"]));
    assert_eq!(program.end(SOON).code(), Some(0), "{program}");
    assert!(program.out.all().join("\n").contains("--rendezvous <TEXT>"), "{program}");
}

#[test]
fn an_identity_file_is_made_and_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity");
    let path = path.to_str().unwrap();
    let first = Peer::start(&["--identity", path]);
    let second = Peer::start(&["--identity", path]);
    assert_eq!(first.id, second.id);
}
