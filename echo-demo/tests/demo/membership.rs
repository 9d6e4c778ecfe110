//! Processes that find each other, lose each other and find each other again.

use std::time::Duration;

use p2prpc::Identity;
use rustix::process::Signal;

use crate::support::{Peer, QUIC, SOON, TCP, free_port, wait_for_echoes_of_all};

const KILLED_IS_REPORTED_WITHIN: Duration = Duration::from_secs(10);
const RESTARTED_IS_ECHOED_WITHIN: Duration = Duration::from_secs(10);
const STOPPED_IS_REPORTED_WITHIN: Duration = Duration::from_secs(30);
/// A call ends after 10 s; a loaded machine may notice it late.
const LONGEST_CALL_MICROS: u64 = 12_000_000;

/// Three that echo each other; the second and the third were given only the address of the first.
fn three(transport: &str) -> [Peer; 3] {
    let first = Peer::start(&[]);
    let address = first.address(transport);
    let peers = [Peer::joining(&address), Peer::joining(&address)];
    let [second, third] = peers;
    wait_for_echoes_of_all(&[&first, &second, &third], SOON);
    [first, second, third]
}

#[test]
fn three_echo_each_other_over_tcp() {
    three(TCP);
}

#[test]
fn three_echo_each_other_over_quic() {
    three(QUIC);
}

fn a_killed_peer_is_reported_and_comes_back(transport: &str) {
    let directory = tempfile::tempdir().unwrap();
    let identity = directory.path().join("identity");
    let identity = identity.to_str().unwrap();
    let (first, second) = {
        let first = Peer::start(&[]);
        let second = Peer::joining(&first.address(transport));
        (first, second)
    };
    let address = first.address(transport);
    let mut third = Peer::start(&["--peer", &address, "--identity", identity]);
    wait_for_echoes_of_all(&[&first, &second, &third], SOON);

    let others = [&first, &second];
    let before = others.map(Peer::now);
    third.program.kill();
    for (other, before) in others.iter().zip(before) {
        other.wait_about(before, KILLED_IS_REPORTED_WITHIN, "peer_left", &third);
    }
    first.wait_for_new_echo_of(&second, SOON);
    second.wait_for_new_echo_of(&first, SOON);
    for other in others {
        let micros = other.events().iter().filter_map(|event| event["micros"].as_u64()).max();
        assert!(micros < Some(LONGEST_CALL_MICROS), "a call took {micros:?} us: {}", other.program);
    }

    let before = others.map(Peer::now);
    let again = Peer::start(&["--peer", &address, "--identity", identity]);
    assert_eq!(again.id, third.id);
    for (other, before) in others.iter().zip(before) {
        other.wait_about(before, RESTARTED_IS_ECHOED_WITHIN, "echo", &again);
    }
}

#[test]
fn a_killed_peer_is_reported_and_comes_back_over_tcp() {
    a_killed_peer_is_reported_and_comes_back(TCP);
}

#[test]
fn a_killed_peer_is_reported_and_comes_back_over_quic() {
    a_killed_peer_is_reported_and_comes_back(QUIC);
}

fn a_stopped_peer_is_reported_and_comes_back(transport: &str) {
    let [first, second, third] = three(transport);
    let others = [&first, &second];
    let before = others.map(Peer::now);
    third.program.signal(Signal::STOP);
    for (other, before) in others.iter().zip(before) {
        other.wait_about(before, STOPPED_IS_REPORTED_WITHIN, "peer_left", &third);
    }
    first.wait_for_new_echo_of(&second, SOON);

    let before = others.map(Peer::now);
    third.program.signal(Signal::CONT);
    for (other, before) in others.iter().zip(before) {
        other.wait_about(before, SOON, "peer_joined", &third);
        other.wait_about(before, SOON, "echo", &third);
    }
    third.wait_for_new_echo_of(&first, SOON);
    third.wait_for_new_echo_of(&second, SOON);
}

#[test]
fn a_stopped_peer_is_reported_and_comes_back_over_tcp() {
    a_stopped_peer_is_reported_and_comes_back(TCP);
}

#[test]
fn a_stopped_peer_is_reported_and_comes_back_over_quic() {
    a_stopped_peer_is_reported_and_comes_back(QUIC);
}

fn the_others_go_on_without_the_bootstrap_peer(transport: &str) {
    let [mut first, second, third] = three(transport);
    let others = [&second, &third];
    let before = others.map(Peer::now);
    first.program.kill();
    for (other, before) in others.iter().zip(before) {
        other.wait_about(before, KILLED_IS_REPORTED_WITHIN, "peer_left", &first);
    }
    second.wait_for_new_echo_of(&third, SOON);
    third.wait_for_new_echo_of(&second, SOON);
}

#[test]
fn the_others_go_on_without_the_bootstrap_peer_over_tcp() {
    the_others_go_on_without_the_bootstrap_peer(TCP);
}

#[test]
fn the_others_go_on_without_the_bootstrap_peer_over_quic() {
    the_others_go_on_without_the_bootstrap_peer(QUIC);
}

fn a_bootstrap_peer_that_starts_last_is_joined(seed: u64, address: impl Fn(u16) -> String) {
    let port = free_port();
    let id = Identity::from_seed(seed).peer_id();
    let address = format!("{}/p2p/{id}", address(port));
    let (second, third) = (Peer::joining(&address), Peer::joining(&address));
    for peer in [&second, &third] {
        let said = peer.program.err.find(0, SOON, |line| line.contains(&address).then_some(()));
        assert!(said.is_some(), "it didn't say that {address} is out of reach: {}", peer.program);
    }
    let first = Peer::start(&["--port", &port.to_string(), "--seed", &seed.to_string()]);
    assert_eq!(first.id, id.to_string());
    wait_for_echoes_of_all(&[&first, &second, &third], SOON);
}

#[test]
fn a_bootstrap_peer_that_starts_last_is_joined_over_tcp() {
    a_bootstrap_peer_that_starts_last_is_joined(7001, |port| format!("/ip4/127.0.0.1/tcp/{port}"));
}

#[test]
fn a_bootstrap_peer_that_starts_last_is_joined_over_quic() {
    a_bootstrap_peer_that_starts_last_is_joined(7002, |port| format!("/ip4/127.0.0.1/udp/{port}/quic-v1"));
}

#[test]
fn who_finds_nobody_is_told_why() {
    let host = Peer::start(&[]);
    let lonely = Peer::start(&["--peer", &host.address(TCP), "--rendezvous", "elsewhere"]);
    for words in [
        "Nobody has been found yet: 0 members; connected to 1 peers",
        "share no rendezvous with us, ours is `elsewhere`",
    ] {
        let said = lonely.program.err.find(0, SOON, |line| line.contains(words).then_some(()));
        assert!(said.is_some(), "it didn't say {words:?}: {}", lonely.program);
    }
}
