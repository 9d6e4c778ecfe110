//! A laptop changes its network.

use std::thread::sleep;
use std::time::Duration;

use libtest_mimic::Trial;
use p2prpc_tests::network::{Host, Lab};

use super::agent::{Agent, Start, meet, meeting, members_of};
use super::node::now;
use super::watching::{assert_undisturbed, judge, settle, watch};
use super::{Family, Transport, trial};

/// How an interface comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// With another address.
    Address,
    /// It lost its address and gets it again.
    SameAddress,
    /// It kept its address.
    LinkOnly,
}

pub(crate) fn trials(transport: Transport) -> Vec<Trial> {
    let mut trials = Vec::new();
    let few = transport == Transport::Both;
    for (seconds, change) in [
        (10, Change::Address),
        (3, Change::Address),
        (1, Change::Address),
        (10, Change::SameAddress),
        (3, Change::SameAddress),
        (1, Change::SameAddress),
        (10, Change::LinkOnly),
        (3, Change::LinkOnly),
        (1, Change::LinkOnly),
    ] {
        if few && (seconds, change) != (3, Change::Address) {
            continue;
        }
        let after = match change {
            Change::Address => "comes_back_with_another_address",
            Change::SameAddress => "loses_its_address_and_gets_it_again",
            Change::LinkOnly => "goes_down_and_up_with_its_address",
        };
        trials.push(trial(transport, &format!("wifi_that_{after}_after_{seconds}_s"), move |transport| {
            one_changes(transport, Duration::from_secs(seconds), change, Family::V4)
        }));
    }
    trials.push(trial(transport, "wifi_that_comes_back_with_another_ipv6_address", |transport| {
        one_changes(transport, GAP, Change::Address, Family::V6)
    }));
    trials.push(trial(transport, "cable_that_is_out_for_5_s", |transport| cable(transport, Duration::from_secs(5))));
    trials.push(trial(transport, "cable_that_is_out_for_20_s", |transport| cable(transport, Duration::from_secs(20))));
    trials.push(trial(transport, "middlebox_that_forgets_its_connections", middlebox));
    trials.push(trial(transport, "wifi_of_both_ends_changes_at_once", both_change));
    trials.push(trial(transport, "wifi_changes_of_one_of_two_that_are_alone", |transport| {
        alone(transport, Change::Address)
    }));
    trials.push(trial(transport, "wifi_changes_five_times_in_a_row", flapping));
    trials
}

const GAP: Duration = Duration::from_secs(3);

fn leave(host: &Host<'_>, change: Change) {
    host.down("eth0");
    if change != Change::LinkOnly {
        host.flush("eth0");
    }
}

fn come_back(host: &Host<'_>, change: Change, old: &str, new: &str) {
    match change {
        Change::Address => host.add("eth0", new),
        Change::SameAddress => host.add("eth0", old),
        Change::LinkOnly => {}
    }
    host.up("eth0");
}

/// Of three hosts, and the next one of the second, with the length of the prefix.
fn addresses(family: Family) -> [&'static str; 4] {
    match family {
        Family::V4 => ["10.9.0.1/24", "10.9.0.2/24", "10.9.0.3/24", "10.9.0.50/24"],
        Family::V6 => ["fd09::1/64", "fd09::2/64", "fd09::3/64", "fd09::50/64"],
    }
}

fn one_changes(transport: Transport, gap: Duration, change: Change, family: Family) -> String {
    let lab = Lab::new();
    let [first, second, third, new] = addresses(family);
    let start = Start::new(transport).family(family);
    let a = start.on(&lab.host("a", &[first]));
    let joining = start.bootstrap(a.at(first.split('/').next().unwrap_or_default()));
    let laptop = lab.host("b", &[second]);
    let (b, c) = (joining.on(&laptop), joining.on(&lab.host("c", &[third])));
    meet(&[&a, &b, &c]);
    let ways = watch(&[(&a, &b), (&c, &b)]);
    let others = watch(&[(&a, &c)]);
    settle(&ways);
    settle(&others);
    let healthy = now();
    leave(&laptop, change);
    sleep(gap);
    come_back(&laptop, change, second, new);
    let figures = judge(&ways, now(), transport.goal());
    assert_undisturbed(&others, healthy);
    let all = [&a, &b, &c];
    assert!(meeting(&all, Duration::ZERO).is_some(), "all are members of each other: {}", members_of(&all));
    figures
}

/// The third one, whose address stays, is where they meet again.
fn both_change(transport: Transport) -> String {
    let lab = Lab::new();
    let a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let joining = Start::new(transport).bootstrap(a.at("10.9.0.1"));
    let laptops = [lab.host("b", &["10.9.0.2/24"]), lab.host("c", &["10.9.0.3/24"])];
    let [b, c] = laptops.each_ref().map(|laptop| joining.on(laptop));
    meet(&[&a, &b, &c]);
    let ways = watch(&[(&b, &c), (&a, &b), (&a, &c)]);
    settle(&ways);
    laptops.iter().for_each(|laptop| leave(laptop, Change::Address));
    sleep(GAP);
    for (laptop, new) in laptops.iter().zip(["10.9.0.50/24", "10.9.0.51/24"]) {
        come_back(laptop, Change::Address, "", new);
    }
    judge(&ways, now(), transport.goal())
}

fn alone(transport: Transport, change: Change) -> String {
    let lab = Lab::new();
    let a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let laptop = lab.host("b", &["10.9.0.2/24"]);
    let b = Start::new(transport).bootstrap(a.at("10.9.0.1")).on(&laptop);
    meet(&[&a, &b]);
    let ways = watch(&[(&a, &b)]);
    settle(&ways);
    leave(&laptop, change);
    sleep(GAP);
    come_back(&laptop, change, "10.9.0.2/24", "10.9.0.50/24");
    judge(&ways, now(), transport.goal())
}

/// Nobody is told, and nothing changes but that packets are lost for a while.
fn cable(transport: Transport, out: Duration) -> String {
    let lab = Lab::new();
    let a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let joining = Start::new(transport).bootstrap(a.at("10.9.0.1"));
    let host = lab.host("b", &["10.9.0.2/24"]);
    let (b, c) = (joining.on(&host), joining.on(&lab.host("c", &["10.9.0.3/24"])));
    meet(&[&a, &b, &c]);
    let ways = watch(&[(&a, &b), (&c, &b)]);
    let others = watch(&[(&a, &c)]);
    settle(&ways);
    settle(&others);
    let healthy = now();
    host.cut("eth0");
    sleep(out);
    host.mend("eth0");
    let figures = judge(&ways, now(), transport.goal());
    assert_undisturbed(&others, healthy);
    figures
}

/// As one that translates addresses and is restarted. Only those behind it can dial.
fn middlebox(transport: Transport) -> String {
    let lab = Lab::new();
    lab.bridge("far");
    let between = lab.host("w", &["10.9.0.9/24"]);
    between.plug("eth1", "far", &["10.9.1.9/24"]);
    let link = Agent::helper(&between, "link", &["10.9.0.9:4001", "10.9.1.2:4001", "0"]);
    let far = lab.bare_host("b");
    far.ip("link set lo up");
    far.plug("eth0", "far", &["10.9.1.2/24"]);
    let b = Start::new(transport).on(&far);
    let through = b.at("10.9.1.2").into_iter().map(|address| address.replace("/10.9.1.2/", "/10.9.0.9/"));
    let a = Start::new(transport).bootstrap(through).on(&lab.host("a", &["10.9.0.1/24"]));
    meet(&[&a, &b]);
    let ways = watch(&[(&a, &b)]);
    settle(&ways);
    link.forget();
    judge(&ways, now(), transport.goal())
}

fn flapping(transport: Transport) -> String {
    let lab = Lab::new();
    let a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let joining = Start::new(transport).bootstrap(a.at("10.9.0.1"));
    let laptop = lab.host("b", &["10.9.0.2/24"]);
    let (b, c) = (joining.on(&laptop), joining.on(&lab.host("c", &["10.9.0.3/24"])));
    meet(&[&a, &b, &c]);
    let ways = watch(&[(&a, &b), (&c, &b)]);
    settle(&ways);
    for n in 50..55 {
        leave(&laptop, Change::Address);
        sleep(GAP);
        come_back(&laptop, Change::Address, "", &format!("10.9.0.{n}/24"));
        if n < 54 {
            sleep(GAP);
        }
    }
    judge(&ways, now(), transport.goal())
}
