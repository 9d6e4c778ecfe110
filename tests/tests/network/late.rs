//! The network is there later than the node, or there is more of it than of use.

use std::thread::sleep;
use std::time::Duration;

use libtest_mimic::Trial;
use p2prpc_tests::network::{Host, LAN, Lab};

use super::agent::{Start, meet, meeting, members_of};
use super::node::now;
use super::watching::{judge, settle, watch};
use super::{MARGIN, Transport, trial};

pub(crate) fn trials(transport: Transport) -> Vec<Trial> {
    let mut trials = vec![trial(transport, "node_started_before_its_network", before_the_network)];
    for (bridges, name) in [(6, "six_bridges"), (12, "twelve_bridges")] {
        trials.push(trial(transport, &format!("laptops_with_{name}"), move |transport| {
            laptops(transport, bridges, Lan::First)
        }));
        trials.push(trial(transport, &format!("laptops_with_{name}_before_their_network"), move |transport| {
            laptops(transport, bridges, Lan::Last)
        }));
        trials.push(trial(
            transport,
            &format!("laptops_with_{name}_and_their_network_comes_later"),
            move |transport| laptops(transport, bridges, Lan::Later),
        ));
    }
    trials
}

fn before_the_network(transport: Transport) -> String {
    let lab = Lab::new();
    let a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let joining = Start::new(transport).bootstrap(a.at("10.9.0.1"));
    let c = joining.on(&lab.host("c", &["10.9.0.3/24"]));
    meet(&[&a, &c]);
    let late = lab.bare_host("b");
    let b = joining.on(&late);
    let ways = watch(&[(&a, &b), (&c, &b)]);
    sleep(Duration::from_secs(5));
    late.ip("link set lo up");
    late.plug("eth0", LAN, &["10.9.0.2/24"]);
    judge(&ways, now(), transport.goal())
}

/// When the address in the common network is given to a laptop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lan {
    /// Before its bridges.
    First,
    /// After them, and before the node starts.
    Last,
    /// Three seconds after the node has started.
    Later,
}

/// All meet so soon.
const GOAL: Duration = Duration::from_secs(10);

/// Each has bridges of its own with the same addresses, as Docker makes them, and one common network with the other and with a bootstrap peer.
fn laptops(transport: Transport, bridges: usize, lan: Lan) -> String {
    let lab = Lab::new();
    let a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let joining = Start::new(transport).bootstrap(a.at("10.9.0.1"));
    let laptops = [("b", "10.9.0.2/24"), ("c", "10.9.0.3/24")].map(|(name, address)| {
        let at_first: &[&str] = if lan == Lan::First { &[address] } else { &[] };
        let host = lab.host(name, at_first);
        add_bridges(&host, bridges);
        if lan == Lan::Last {
            host.add("eth0", address);
        }
        (host, address)
    });
    let [b, c] = laptops.each_ref().map(|(host, _)| joining.on(host));
    if lan == Lan::Later {
        sleep(Duration::from_secs(3));
        laptops.iter().for_each(|(host, address)| host.add("eth0", address));
    }
    let all = [&a, &b, &c];
    let met = meeting(&all, GOAL + MARGIN);
    let met = met.unwrap_or_else(|| panic!("within {GOAL:?} and {MARGIN:?} all meet, but {}", members_of(&all)));
    settle(&watch(&[(&a, &b), (&a, &c), (&b, &c)]));
    format!("met after {:.1} s", met.as_secs_f64())
}

fn add_bridges(host: &Host<'_>, bridges: usize) {
    for n in 0..bridges {
        host.ip(&format!("link add br{n} type bridge"));
        host.add(&format!("br{n}"), &format!("172.{}.0.1/16", 17 + n));
        host.up(&format!("br{n}"));
    }
}
