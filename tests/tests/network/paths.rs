//! Two hosts with two ways to each other, one of which ends.

use std::thread::sleep;
use std::time::Duration;

use libtest_mimic::Trial;
use p2prpc_tests::network::{Host, LAN, Lab};

use super::agent::{Agent, Start, meet, until};
use super::node::now;
use super::watching::{assert_undisturbed, judge, settle, watch};
use super::{Transport, trial};

/// The second network.
const FAR: &str = "far";

pub(crate) fn trials(transport: Transport) -> Vec<Trial> {
    vec![
        trial(transport, "first_of_two_networks_dies", |transport| one_dies(transport, "eth0", true)),
        trial(transport, "second_of_two_networks_dies", |transport| one_dies(transport, "eth1", true)),
        trial(transport, "cable_of_one_to_the_first_of_two_networks_is_cut", |transport| {
            one_dies(transport, "eth0", false)
        }),
        trial(transport, "address_of_the_first_of_two_networks_is_removed", |transport| {
            interface_ends(transport, |host| host.remove("eth0", "10.9.0.2/24"))
        }),
        trial(transport, "address_of_the_second_of_two_networks_is_removed", |transport| {
            interface_ends(transport, |host| host.remove("eth1", "10.9.1.2/24"))
        }),
        trial(transport, "interface_to_the_first_of_two_networks_is_unplugged", |transport| {
            interface_ends(transport, |host| host.ip("link del eth0"))
        }),
        trial(transport, "interface_to_the_first_of_two_networks_is_switched_off", |transport| {
            interface_ends(transport, |host| host.down("eth0"))
        }),
        trial(transport, "address_of_one_of_two_interfaces_to_one_network_is_removed", one_network),
        trial(transport, "interface_that_comes_and_goes_disturbs_nobody", comes_and_goes),
        trial(transport, "two_healthy_connections_stay_two", stay_two),
    ]
}

/// Two networks, with `a` and `b` on both.
fn two_networks(lab: &Lab) -> [Host<'_>; 2] {
    lab.bridge(FAR);
    [("a", "10.9.0.1/24", "10.9.1.1/24"), ("b", "10.9.0.2/24", "10.9.1.2/24")].map(|(name, near, far)| {
        let host = lab.host(name, &[near]);
        host.plug("eth1", FAR, &[far]);
        host
    })
}

/// Two nodes, with connections over both networks.
fn two_nodes(transport: Transport, hosts: &[Host<'_>; 2]) -> [Agent; 2] {
    let a = Start::new(transport).on(&hosts[0]);
    let b = Start::new(transport).bootstrap(a.at("10.9.0.1")).on(&hosts[1]);
    meet(&[&a, &b]);
    b.connect_again(&a, "10.9.1.1");
    let both = until(Duration::from_secs(2), || has_both(&a, &b) && has_both(&b, &a));
    assert!(both.is_some(), "both networks have a connection");
    [a, b]
}

/// True if one has healthy connections with the other over both networks.
fn has_both(one: &Agent, other: &Agent) -> bool {
    let number = if other.name == "a" { 1 } else { 2 };
    let connections = one.connections(&other.peer);
    let healthy = |ip: &str| connections.iter().any(|connection| connection.is_with(ip) && !connection.suspected);
    healthy(&format!("10.9.0.{number}")) && healthy(&format!("10.9.1.{number}"))
}

fn one_dies(transport: Transport, interface: &str, at_both: bool) -> String {
    let lab = Lab::new();
    let hosts = two_networks(&lab);
    let [a, b] = two_nodes(transport, &hosts);
    let ways = watch(&[(&a, &b)]);
    settle(&ways);
    hosts[1].cut(interface);
    if at_both {
        hosts[0].cut(interface);
    }
    judge(&ways, now(), transport.goal())
}

fn interface_ends(transport: Transport, end: impl FnOnce(&Host<'_>)) -> String {
    let lab = Lab::new();
    let hosts = two_networks(&lab);
    let [a, b] = two_nodes(transport, &hosts);
    let ways = watch(&[(&a, &b)]);
    settle(&ways);
    end(&hosts[1]);
    judge(&ways, now(), transport.goal())
}

/// One that has a Wi-Fi and a cable to the same network.
fn one_network(transport: Transport) -> String {
    let lab = Lab::new();
    let a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let host = lab.host("b", &["10.9.0.2/24"]);
    host.plug("eth1", LAN, &["10.9.0.3/24"]);
    let b = Start::new(transport).bootstrap(a.at("10.9.0.1")).on(&host);
    meet(&[&a, &b]);
    let ways = watch(&[(&a, &b)]);
    settle(&ways);
    host.remove("eth0", "10.9.0.2/24");
    judge(&ways, now(), transport.goal())
}

/// A virtual private network, a container's bridge, a telephone that is plugged in.
fn comes_and_goes(transport: Transport) -> String {
    let lab = Lab::new();
    let a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let host = lab.host("b", &["10.9.0.2/24"]);
    let b = Start::new(transport).bootstrap(a.at("10.9.0.1")).on(&host);
    meet(&[&a, &b]);
    let ways = watch(&[(&a, &b)]);
    settle(&ways);
    let since = now();
    for _ in 0..4 {
        host.ip("link add br0 type bridge");
        host.add("br0", "172.17.0.1/16");
        host.up("br0");
        host.add("eth0", "10.9.0.77/24");
        sleep(Duration::from_secs(2));
        host.remove("eth0", "10.9.0.77/24");
        host.ip("link del br0");
        sleep(Duration::from_secs(2));
    }
    sleep(Duration::from_secs(6));
    assert_undisturbed(&ways, since);
    for agent in [&a, &b] {
        let left = agent.events("PeerLeft", since);
        assert!(left.is_empty(), "{} has members that left: {left:?}", agent.name);
    }
    "undisturbed".into()
}

fn stay_two(transport: Transport) -> String {
    let lab = Lab::new();
    let hosts = two_networks(&lab);
    let [a, b] = two_nodes(transport, &hosts);
    let ways = watch(&[(&a, &b)]);
    settle(&ways);
    let since = now();
    sleep(Duration::from_secs(40));
    assert_undisturbed(&ways, since);
    assert!(has_both(&a, &b) && has_both(&b, &a), "both networks have a connection after 40 s");
    for agent in [&a, &b] {
        let closed = agent.events("ConnectionClosed", since);
        assert!(closed.is_empty(), "{}: {closed:?}", agent.name);
    }
    "two after 40 s".into()
}
