//! What discovery does as a whole, in a network without I/O.

pub(crate) mod fuzz;
mod net;
mod outages;
mod replays;

use std::time::Duration;

use libp2p::PeerId;

use super::dial_budget::Source;
use super::messages::{Blob, Cursor, Description, Listed, Listing};
use super::{Action, Input};
use net::{Net, Setup, address};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many nodes that start at once and know the first one only.
fn swarm(n: usize) -> Net {
    let mut net = Net::new();
    for _ in 0..n {
        net.start(Setup::default());
    }
    net
}

fn complete_swarm(n: usize) -> Net {
    let mut net = swarm(n);
    assert!(net.run_until(secs(10), Net::is_complete).is_some(), "they don't find each other");
    net
}

#[test]
fn fifty_that_start_at_once_know_each_other_in_seconds() {
    let mut net = swarm(50);
    let took = net.run_until(secs(10), Net::is_complete).expect("all find all");
    assert!(took < secs(4), "{took:?}");
    let dials: usize = net.nodes.iter().map(|node| node.dialled.len()).sum();
    assert!(dials < 50 * 49 * 3 / 4, "{dials} dials for {} connections", 50 * 49 / 2);
}

#[test]
fn a_late_one_is_known_to_all_in_a_second_or_two() {
    let mut net = complete_swarm(30);
    net.run(secs(60));
    net.start(Setup::default());
    let took = net.run_until(secs(10), Net::is_complete).expect("the late one is found");
    assert!(took < secs(2), "{took:?}");
}

#[test]
fn nothing_is_dialled_once_all_know_all() {
    let mut net = complete_swarm(20);
    net.run(secs(5));
    for node in &mut net.nodes {
        node.dialled.clear();
    }
    net.run(secs(300));
    assert!(net.nodes.iter().all(|node| node.dialled.is_empty() && node.left.is_empty()));
}

#[test]
fn a_killed_one_is_out_at_once() {
    let mut net = complete_swarm(10);
    net.kill(4);
    let took = net.run_until(secs(10), Net::is_complete).expect("it is out");
    assert!(took <= secs(1), "{took:?}");
}

#[test]
fn a_silent_one_is_out_within_thirty_seconds_and_comes_back() {
    let mut net = complete_swarm(10);
    net.run(secs(7));
    net.stop(4);
    net.run(secs(8));
    assert!((0..10).filter(|node| *node != 4).all(|node| net.knows(node, 4)), "a stall of 8 s is no leave");
    let took = net.run_until(secs(22), Net::is_complete).expect("it is out");
    assert!(took < secs(20), "{took:?}");
    net.run(secs(60));
    net.go_on(4);
    let took = net.run_until(secs(30), Net::is_complete).expect("it is back");
    assert!(took < secs(10), "{took:?}");
    assert!(net.nodes[4].left.is_empty(), "it was its own stall, so nobody left");
}

#[test]
fn a_path_that_stalls_for_twelve_seconds_is_no_leave_whenever_it_begins() {
    let slow_round_trip = Duration::from_millis(1500);
    for quarters in 0..20 {
        let mut net = complete_swarm(2);
        net.run(secs(30) + quarters * Duration::from_millis(250));
        net.stop(1);
        net.run(secs(12) + slow_round_trip);
        net.go_on(1);
        net.run(secs(5));
        assert!(net.nodes[0].left.is_empty(), "it began {quarters} quarters of a second after a ping");
    }
}

#[test]
fn a_group_that_loses_half_at_once_is_whole_again_in_seconds() {
    let mut net = complete_swarm(80);
    net.run(secs(10));
    for node in &mut net.nodes {
        node.dialled.clear();
    }
    for node in 40..80 {
        net.kill(node);
    }
    let took = net.run_until(secs(20), Net::is_complete).expect("the dead are out");
    assert!(took < secs(6), "{took:?}");
    let survivors = &net.nodes[..40];
    assert!(survivors.iter().all(|node| node.dialled.len() >= 40), "each was dialled once more");
}

#[test]
fn a_lost_connection_is_no_leave() {
    let mut net = complete_swarm(5);
    net.disconnect(1, 2);
    net.run(secs(5));
    assert!(net.are_connected(1, 2));
    assert!(net.nodes.iter().all(|node| node.left.is_empty()));
}

#[test]
fn a_polite_leave_is_taken_at_its_word() {
    let mut net = complete_swarm(10);
    let leaver = net.nodes[4].peer;
    for node in &mut net.nodes {
        node.dialled.clear();
    }
    net.leave(4);
    assert!(net.is_complete());
    net.run(secs(120));
    assert!(net.nodes.iter().all(|node| node.dialled.iter().all(|(_, peer)| *peer != leaver)), "nobody dials it");
}

#[test]
fn one_that_comes_back_after_a_polite_leave_is_known_again_soon() {
    let mut net = complete_swarm(10);
    net.leave(4);
    net.run(secs(1));
    net.restart(4, &Setup::default());
    let took = net.run_until(secs(10), Net::is_complete).expect("it is back");
    assert!(took < secs(3), "{took:?}");
}

#[test]
fn a_killed_one_that_starts_again_is_known_again_soon() {
    let mut net = complete_swarm(10);
    net.kill(4);
    net.run(secs(2));
    net.restart(4, &Setup::default());
    let took = net.run_until(secs(10), Net::is_complete).expect("it is back");
    assert!(took < secs(3), "{took:?}");
}

#[test]
fn the_others_go_on_without_the_bootstrap_peer_and_meet_it_again() {
    let mut net = complete_swarm(10);
    net.kill(0);
    net.run(secs(300));
    assert!(net.is_complete());
    net.restart(0, &Setup::default());
    let took = net.run_until(secs(20), Net::is_complete).expect("it is back");
    assert!(took < secs(10), "{took:?}");
}

#[test]
fn a_bootstrap_peer_that_comes_last_is_joined() {
    let mut net = Net::new();
    net.start(Setup::default());
    net.kill(0);
    for _ in 0..5 {
        net.start(Setup::default());
    }
    net.run(secs(100));
    assert!(net.nodes.iter().all(|node| node.members.is_empty()));
    net.restart(0, &Setup::default());
    let took = net.run_until(secs(20), Net::is_complete).expect("all meet");
    assert!(took < secs(12), "{took:?}");
}

#[test]
fn two_rendezvous_do_not_mix() {
    let mut net = Net::new();
    net.start(Setup { rendezvous: vec!["a", "b"], ..Setup::default() });
    let of = |name| Setup { rendezvous: vec![name], ..Setup::default() };
    let a: Vec<usize> = (0..4).map(|_| net.start(of("a"))).collect();
    let b: Vec<usize> = (0..4).map(|_| net.start(of("b"))).collect();
    let done = |net: &Net| {
        let size = |node: usize| net.nodes[node].members.len();
        size(0) == 8 && a.iter().chain(&b).all(|node| size(*node) == 4)
    };
    assert!(net.run_until(secs(10), done).is_some());
    net.run(secs(60));
    assert!(done(&net));
    for node in &a {
        assert!(b.iter().all(|other| !net.knows(*node, *other) && !net.are_connected(*node, *other)));
        let bootstrap = &net.nodes[*node].members[&net.nodes[0].peer];
        assert!(bootstrap.is_in("a") && !bootstrap.is_in("b"));
    }
    let seen_by_the_first = &net.nodes[0].members[&net.nodes[a[0]].peer];
    assert!(seen_by_the_first.is_in("a") && seen_by_the_first.may_serve("EchoService"));
}

#[test]
fn members_past_the_limit_are_known_and_not_kept_connected() {
    let mut net = Net::new();
    let setup = Setup { max_connected: 5, ..Setup::default() };
    for _ in 0..20 {
        net.start(setup.clone());
    }
    assert!(net.run_until(secs(20), Net::is_complete).is_some());
    assert!(net.nodes[1..].iter().all(|node| node.pins.len() == 6), "five and the bootstrap peer");
    let pinned = |net: &Net, a: usize, b: usize| {
        net.nodes[a].pins.contains(&net.nodes[b].peer) || net.nodes[b].pins.contains(&net.nodes[a].peer)
    };
    for a in 0..20 {
        for b in 0..a {
            if !pinned(&net, a, b) {
                net.disconnect(a, b);
            }
        }
    }
    net.run(secs(10));
    assert!(net.is_complete(), "an idle connection that ends is no leave");
    net.kill(19);
    assert!(net.run_until(secs(60), Net::is_complete).is_some(), "neighbours tell that it is gone");
    assert!(net.nodes[1..19].iter().all(|node| node.pins.len() == 6), "another one takes its place");
}

#[test]
fn a_changed_service_list_is_told() {
    let mut net = complete_swarm(3);
    net.input(1, Input::ServicesChanged);
    net.run(secs(10));
    assert!(net.is_complete());
}

/// The answer of a member that tells of peers that aren't there.
fn lies(n: usize, place: impl Fn(usize) -> Vec<u8>) -> Listing {
    let members =
        (0..n).map(|port| Listed { peer: Blob(PeerId::random().to_bytes()), addresses: vec![Blob(place(port))] });
    Listing {
        cursor: Cursor::default(),
        more: true,
        members: members.collect(),
        gone: (0..n).map(|_| Blob(PeerId::random().to_bytes())).collect(),
        description: 0,
    }
}

#[test]
fn lies_cost_a_bounded_number_of_dials_and_nobody_else_anything() {
    let mut net = complete_swarm(5);
    for node in &mut net.nodes {
        node.dialled.clear();
    }
    let liar = net.nodes[2].peer;
    let public = |port: usize| format!("/ip4/203.0.113.{}/tcp/1", port % 256).parse::<libp2p::Multiaddr>().unwrap();
    for second in 0..20 {
        let garbage = lies(2_000, |_| vec![0xff; 40]);
        net.input(0, Input::Listed { peer: liar, answer: Ok(garbage) });
        let names = lies(256, |_| "/dns4/victim.example/tcp/80".parse::<libp2p::Multiaddr>().unwrap().to_vec());
        net.input(0, Input::Listed { peer: liar, answer: Ok(names) });
        let scan = lies(2_000, |port| public(port + second).to_vec());
        net.input(0, Input::Listed { peer: liar, answer: Ok(scan) });
        net.run(secs(1));
    }
    assert!(net.nodes[0].dialled.len() <= 2 * 20 + 4, "{}", net.nodes[0].dialled.len());
    assert!(net.is_complete());
    net.start(Setup::default());
    assert!(net.run_until(secs(5), Net::is_complete).is_some(), "an honest one is found meanwhile");
}

#[test]
fn a_member_is_not_removed_by_hearsay() {
    let mut net = complete_swarm(5);
    let (liar, victim) = (net.nodes[2].peer, net.nodes[3].peer);
    let mut slander = lies(0, |_| Vec::new());
    slander.gone = vec![Blob(victim.to_bytes())];
    net.input(1, Input::Listed { peer: liar, answer: Ok(slander) });
    net.run(secs(5));
    assert!(net.nodes.iter().all(|node| node.left.is_empty()));
}

#[test]
fn addresses_for_a_call_come_from_what_is_known_or_from_the_dht() {
    let mut net = Net::new();
    net.start(Setup::default());
    let known = PeerId::random();
    let now = net.now;
    net.nodes[0].discovery.add_candidate(known, Source::Network, vec![address(9)], now);
    let found = |net: &mut Net, peer: PeerId| {
        net.input(0, Input::AddressesWanted { peer });
        std::mem::take(&mut net.nodes[0].other)
    };
    let answer = found(&mut net, known);
    assert!(matches!(&answer[..], [Action::AddressesFound { addresses, .. }] if addresses.len() == 1), "{answer:?}");
    let unknown = PeerId::random();
    let answer = found(&mut net, unknown);
    assert!(matches!(&answer[..], [Action::AddressesFound { addresses, .. }] if addresses.is_empty()), "{answer:?}");
    net.start(Setup::default());
    net.run(secs(1));
    net.nodes[0].other.clear();
    let answer = found(&mut net, unknown);
    assert!(matches!(&answer[..], [Action::FindPeer { .. }]), "{answer:?}");
    net.input(0, Input::PeerLookedUp { peer: unknown, addresses: vec![address(7)] });
    let answer = std::mem::take(&mut net.nodes[0].other);
    assert!(matches!(&answer[..], [Action::AddressesFound { addresses, .. }] if addresses.len() == 1), "{answer:?}");
}

#[test]
fn providers_of_the_dht_are_found_without_anybody_telling() {
    let mut net = Net::new();
    let alone = Setup { bootstrap: vec![], ..Setup::default() };
    net.start(alone.clone());
    net.start(alone);
    let peers = vec![(net.nodes[1].peer, vec![address(2)])];
    net.input(0, Input::Providers { peers });
    assert!(net.run_until(secs(2), Net::is_complete).is_some());
}

/// It sees a connection each time, which is closed at once.
#[test]
fn who_does_not_admit_us_is_dialled_seldom_and_is_no_member() {
    for blocker in [0, 1] {
        let mut net = complete_swarm(3);
        let (host, guest) = (net.nodes[blocker].peer, net.nodes[2].peer);
        net.blocked.extend([(blocker, 2), (2, blocker)]);
        net.input(blocker, Input::Blocked { peer: guest });
        net.run(secs(1));
        assert!(!net.nodes[2].members.contains_key(&host));
        net.nodes[2].dialled.clear();
        net.run(secs(600));
        assert!(!net.nodes[2].members.contains_key(&host));
        let dials = net.nodes[2].dialled.iter().filter(|(_, peer)| *peer == host).count();
        assert!((5..=120).contains(&dials), "{dials} dials in ten minutes");
        net.blocked.clear();
        net.input(blocker, Input::Unblocked { peer: guest });
        assert!(net.run_until(secs(5), Net::is_complete).is_some(), "they don't meet again");
    }
}

#[test]
fn a_blocked_member_is_out() {
    let mut net = complete_swarm(3);
    let peer = net.nodes[1].peer;
    net.blocked.insert((0, 1));
    net.input(0, Input::Blocked { peer });
    net.run(Duration::from_millis(100));
    assert!(!net.knows(0, 1) && !net.are_connected(0, 1));
}

fn config(bootstrap: &str, scope: super::Scope) -> super::DiscoveryConfig {
    super::DiscoveryConfig {
        local: PeerId::random(),
        rendezvous: vec!["ours".into()],
        remembered: Vec::new(),
        bootstrap: vec![(PeerId::random(), bootstrap.parse().unwrap())],
        serves: true,
        max_connected_members: 512,
        scope,
        networks: crate::networks::Networks::fixed([]),
        private: true,
        application: "/test".into(),
        kad_protocol: libp2p::StreamProtocol::new("/ipfs/kad/1.0.0"),
        gorpc: None,
        visible: std::sync::Arc::new(|_| Vec::new()),
        seed: 0,
    }
}

/// Each of so many becomes a member from its own place. How many of them are kept connected.
fn kept(discovery: &mut super::Discovery, n: usize, outbound: bool, place: impl Fn(usize) -> String) -> usize {
    let now = std::time::Instant::now();
    for n in 0..n {
        let (peer, address) = (PeerId::random(), format!("{}/tcp/4001", place(n)).parse().unwrap());
        discovery.input(Input::Connected { peer, address, outbound, first: true }, now);
        discovery.input(Input::Supported { peer }, now);
        let (shared, services, methods) = (vec![super::key::topic("ours")], Vec::new(), Vec::new());
        let answer = Ok(Description { shared, services, version: 0, methods });
        discovery.input(Input::Described { peer, answer }, now);
    }
    let pinned = |action: &Action| matches!(action, Action::Pin { pinned: true, .. });
    std::iter::from_fn(|| discovery.next_action()).filter(pinned).count()
}

#[test]
fn whoever_has_many_addresses_is_not_all_that_is_kept_connected() {
    let new = || {
        let config = config("/ip4/203.0.113.1/tcp/4001", super::Scope::Public);
        super::Discovery::new(super::DiscoveryConfig { max_connected_members: 16, ..config }, std::time::Instant::now())
    };
    let one_network = |n: usize| format!("/ip4/198.51.100.{}", n + 1);
    let many_networks = |n: usize| format!("/ip4/198.51.{}.1", n + 1);
    let mut node = new();
    assert_eq!(kept(&mut node, 30, false, one_network), 4, "a quarter");
    assert_eq!(kept(&mut node, 30, false, many_networks), 4, "half came to us");
    assert_eq!(
        kept(&mut node, 30, true, |n| format!("/ip4/203.0.{}.1", n + 1)),
        8,
        "and the rest is there for those that we dial"
    );
    assert_eq!(kept(&mut new(), 30, true, one_network), 4, "a quarter, dialled or not");
    assert_eq!(
        kept(&mut new(), 30, false, |n| format!("/ip4/192.168.1.{}", n + 1)),
        16,
        "nearby it is nobody's business"
    );
}

#[test]
fn a_private_node_with_a_public_bootstrap_peer_is_warned() {
    let warned = |address: &str| {
        let config = config(address, super::Scope::Loopback);
        let mut discovery = super::Discovery::new(config, std::time::Instant::now());
        std::iter::from_fn(|| discovery.next_action()).any(|action| matches!(action, Action::Warn(_)))
    };
    assert!(warned("/ip4/203.0.113.1/tcp/4001"));
    assert!(!warned("/ip4/192.168.1.1/tcp/4001"));
}

#[test]
fn addresses_that_are_not_believed_are_in_the_diagnosis_until_the_peer_is_connected() {
    let now = std::time::Instant::now();
    let mut discovery = super::Discovery::new(config("/ip4/203.0.113.1/tcp/4001", super::Scope::Public), now);
    let (peer, near) = (PeerId::random(), "/ip4/192.168.1.1/tcp/4001".parse::<libp2p::Multiaddr>().unwrap());
    discovery.input(Input::Providers { peers: vec![(peer, vec![near.clone()])] }, now);
    let diagnosis = discovery.diagnose();
    assert_eq!(diagnosis.filtered.get(&peer), Some(&vec![near.clone()]));
    assert!(diagnosis.to_string().contains("is said to be at /ip4/192.168.1.1/tcp/4001, which is not dialled"));
    discovery.input(Input::Connected { peer, address: near, outbound: false, first: true }, now);
    assert!(discovery.diagnose().filtered.is_empty());
}
