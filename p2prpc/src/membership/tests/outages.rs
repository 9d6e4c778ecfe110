//! Networks that fail, and are whole again.

use std::time::Duration;

use libp2p::PeerId;

use super::net::{Net, Setup, address};
use super::{complete_swarm, secs};
use crate::membership::{Action, Input};

const HOUR: Duration = Duration::from_secs(3600);

/// All of these know all others of these.
fn know_each_other(net: &Net, nodes: &[usize]) -> bool {
    nodes.iter().all(|one| nodes.iter().all(|other| one == other || net.knows(*one, *other)))
}

/// `n` nodes whose bootstrap peer is gone, of which `cut` lose the network for this long. They meet again in about a minute.
fn meet_again_after(outage: Duration, n: usize, cut: usize) {
    let mut net = complete_swarm(n + 1);
    net.kill(0);
    net.run(secs(30));
    let all: Vec<usize> = (1..=n).collect();
    assert!(know_each_other(&net, &all));
    for node in &all[..cut] {
        net.cut(*node);
    }
    if outage >= HOUR {
        net.tick = secs(1);
    }
    net.run(outage);
    net.tick = super::super::Discovery::TICK;
    assert!(all[..cut].iter().all(|node| net.nodes[*node].members.is_empty()), "they are alone");
    for node in &all[..cut] {
        net.mend(*node);
    }
    let took = net.run_until(secs(120), |net| know_each_other(net, &all));
    let took = took.expect("they meet again");
    assert!(took <= secs(65), "{took:?} after {outage:?}");
}

#[test]
fn two_meet_again_after_an_hour() {
    meet_again_after(HOUR, 2, 1);
}

#[test]
fn two_meet_again_after_a_day() {
    meet_again_after(24 * HOUR, 2, 1);
}

#[test]
fn ten_that_were_all_alone_meet_again_after_an_hour() {
    meet_again_after(HOUR, 10, 10);
}

#[test]
fn one_of_twenty_is_found_again_after_an_hour() {
    meet_again_after(HOUR, 20, 1);
}

#[test]
fn a_change_of_the_network_is_tried_at_once() {
    let mut net = complete_swarm(3);
    net.kill(0);
    net.run(secs(30));
    net.cut(2);
    net.run(HOUR);
    net.mend(2);
    net.input(2, Input::NetworkChanged);
    let took = net.run_until(secs(60), |net| know_each_other(net, &[1, 2])).expect("they meet again");
    assert!(took <= secs(1), "{took:?}");
}

#[test]
fn a_route_that_comes_a_moment_after_the_address_is_found_in_a_second() {
    let mut net = complete_swarm(3);
    net.kill(0);
    net.run(secs(30));
    net.cut(2);
    net.run(HOUR);
    net.input(2, Input::NetworkChanged);
    net.run(secs(7));
    net.mend(2);
    let took = net.run_until(secs(60), |net| know_each_other(net, &[1, 2])).expect("they meet again");
    assert!(took <= Duration::from_millis(1500), "{took:?}");
}

#[test]
fn a_few_seconds_without_a_network_are_nobodys_leave() {
    for seconds in 1..7 {
        let mut net = complete_swarm(5);
        net.run(secs(10));
        net.cut(2);
        net.run(secs(seconds));
        net.mend(2);
        net.input(2, Input::NetworkChanged);
        net.run(secs(30));
        assert!(net.is_complete(), "after {seconds} s");
        assert!(net.nodes.iter().all(|node| node.left.is_empty()), "after {seconds} s");
    }
}

#[test]
fn without_a_network_all_are_out_in_ten_seconds() {
    let mut net = complete_swarm(5);
    net.cut(2);
    let took = net.run_until(secs(20), |net| net.nodes[2].members.is_empty()).expect("they are out");
    assert!(took <= secs(10), "{took:?}");
}

#[test]
fn a_storm_of_changes_costs_a_bounded_number_of_dials() {
    let mut net = complete_swarm(6);
    net.run(secs(10));
    net.cut(2);
    net.run(secs(60));
    net.nodes[2].dialled.clear();
    for _ in 0..1_000 {
        net.input(2, Input::NetworkChanged);
        net.run(Duration::from_millis(10));
    }
    // Five to find, forty ticks.
    assert!(net.nodes[2].dialled.len() <= 2 * 5 * 41, "{}", net.nodes[2].dialled.len());
}

#[test]
fn helpers_that_are_no_members_are_found_again() {
    let mut net = Net::new();
    net.start(Setup { rendezvous: vec![], bootstrap: vec![], ..Setup::default() });
    net.start(Setup { rendezvous: vec![], ..Setup::default() });
    let node = net.start(Setup { bootstrap: vec![], ..Setup::default() });
    let helper = net.nodes[1].peer;
    // It found the helper by way of the first, which is gone for good.
    net.input(node, Input::Providers { peers: vec![(helper, vec![address(2)])] });
    net.run(secs(5));
    assert!(net.are_connected(node, 1));
    net.cut(node);
    net.run(HOUR);
    net.mend(node);
    let took = net.run_until(secs(120), |net| net.are_connected(node, 1)).expect("it is found again");
    assert!(took <= secs(65), "{took:?}");
}

#[test]
fn those_that_left_politely_or_are_no_members_of_ours_are_not_sought() {
    let mut net = complete_swarm(4);
    let (left, blocked) = (net.nodes[2].peer, net.nodes[3].peer);
    net.leave(2);
    net.input(1, Input::Blocked { peer: blocked });
    net.blocked.insert((1, 3));
    net.kill(3);
    net.nodes[1].dialled.clear();
    net.run(HOUR);
    assert!(net.nodes[1].dialled.iter().all(|(_, peer)| *peer != left && *peer != blocked));
}

fn is_forgotten(net: &Net, node: usize, gone: PeerId) -> bool {
    net.nodes[node].other.iter().any(|action| match action {
        Action::Forget { peer } | Action::ForgetAt { peer, .. } => *peer == gone,
        _ => false,
    })
}

#[test]
fn nobody_is_told_of_those_that_are_gone() {
    let mut net = complete_swarm(5);
    let (left, killed) = (net.nodes[2].peer, net.nodes[3].peer);
    net.leave(2);
    net.kill(3);
    net.run(secs(2));
    for node in [0, 1, 4] {
        assert!(is_forgotten(&net, node, left) && is_forgotten(&net, node, killed));
    }
}

#[test]
fn nobody_is_forgotten_when_our_own_network_fails() {
    let mut net = complete_swarm(5);
    net.cut(2);
    net.run(HOUR);
    let others: Vec<PeerId> = [0, 1, 3, 4].map(|node| net.nodes[node].peer).to_vec();
    assert!(others.into_iter().all(|peer| !is_forgotten(&net, 2, peer)));
}

#[test]
fn one_that_is_restarted_every_five_seconds_is_met_each_time() {
    let mut net = complete_swarm(20);
    for restart in 0..40 {
        net.kill(4);
        net.run(secs(1));
        net.restart(4, &Setup::default());
        let took = net.run_until(secs(4), Net::is_complete);
        assert!(took.is_some(), "not after restart {restart}");
        net.run(secs(4).saturating_sub(took.unwrap_or_default()));
    }
}

/// All that the others hear of one of them they hear from the first node.
#[test]
fn a_group_that_is_restarted_again_and_again_is_whole_in_seconds_once_it_stays() {
    let mut net = complete_swarm(10);
    for _ in 0..6 {
        for node in 1..10 {
            net.kill(node);
        }
        net.run(secs(1));
        for node in 1..10 {
            net.restart(node, &Setup::default());
            net.run(Duration::from_millis(400));
        }
    }
    let took = net.run_until(secs(30), Net::is_complete).expect("they meet");
    assert!(took < secs(5), "{took:?}");
}
