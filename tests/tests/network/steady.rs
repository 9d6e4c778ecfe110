//! What worked before goes on working: nobody is given up too early, and nothing grows.

use std::thread::sleep;
use std::time::Duration;

use libtest_mimic::Trial;
use p2prpc::prelude::*;
use p2prpc_tests::network::Lab;

use super::agent::{Agent, Start, meet, meeting, members_of, until};
use super::node::{HostClient, named, now};
use super::watching::assert_undisturbed;
#[cfg(unix)]
use super::watching::judge;
use super::watching::{settle, watch};
use super::{Family, Transport, long, trial};

pub(crate) fn trials(transport: Transport) -> Vec<Trial> {
    let mut trials = vec![
        trial(transport, "call_without_a_byte_for_long_is_answered", quiet_call),
        trial(transport, "slow_link_that_stalls", slow_link),
        trial(transport, "nodes_that_come_and_go_leave_nothing_behind", churn),
    ];
    #[cfg(unix)]
    for seconds in [8, 12] {
        trials.push(trial(transport, &format!("node_that_is_stopped_for_{seconds}_s"), move |transport| {
            stopped(transport, Duration::from_secs(seconds))
        }));
    }
    trials
}

/// It keeps a machine busy, which others are better spared.
pub(crate) fn busy_trials(transport: Transport) -> Vec<Trial> {
    vec![trial(transport, "thirty_pairs_dial_each_other_at_once", simultaneous)]
}

/// Two hosts with a node each, members of each other.
fn pair(transport: Transport, lab: &Lab) -> [Agent; 2] {
    let a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let b = Start::new(transport).bootstrap(a.at("10.9.0.1")).on(&lab.host("b", &["10.9.0.2/24"]));
    meet(&[&a, &b]);
    [a, b]
}

fn assert_nobody_left(agents: &[&Agent], since: u64) {
    for agent in agents {
        let left = agent.events("PeerLeft", since);
        assert!(left.is_empty(), "{} has members that left: {left:?}", agent.name);
    }
}

fn quiet_call(transport: Transport) -> String {
    let rest = Duration::from_secs(if long() { 100 } else { 40 });
    let lab = Lab::new();
    let [a, b] = pair(transport, &lab);
    let since = now();
    a.rest(&b.peer, rest, rest + Duration::from_secs(20)).unwrap();
    b.rest(&a.peer, Duration::ZERO, Duration::from_secs(2)).unwrap();
    assert_nobody_left(&[&a, &b], since);
    format!("answered after {rest:?}")
}

/// Milliseconds of a link's delay in each direction.
const DELAY: &str = "750";
const STALL: Duration = Duration::from_secs(12);

fn slow_link(transport: Transport) -> String {
    let lab = Lab::new();
    lab.bridge("far");
    let link_host = lab.host("w", &["10.9.0.9/24"]);
    link_host.plug("eth1", "far", &["10.9.1.9/24"]);
    let link = Agent::helper(&link_host, "link", &["10.9.0.9:4001", "10.9.1.2:4001", DELAY]);
    let far = lab.bare_host("b");
    far.ip("link set lo up");
    far.plug("eth0", "far", &["10.9.1.2/24"]);
    let b = Start::new(transport).on(&far);
    let through = b.at("10.9.1.2")[0].replace("/10.9.1.2/", "/10.9.0.9/");
    let a = Start::new(transport).bootstrap([through]).on(&lab.host("a", &["10.9.0.1/24"]));
    meet(&[&a, &b]);
    let since = now();
    let call = |within: Duration| [(&a, &b), (&b, &a)].map(|(from, to)| from.rest(&to.peer, Duration::ZERO, within));
    let answered = call(Duration::from_secs(10));
    assert!(answered.iter().all(Result::is_ok), "over a slow link: {answered:?}");
    let mut lost = 0;
    for _ in 0..2 {
        link.stall(STALL);
        // Those may fail: a connection may end in a stall.
        lost += call(STALL + Duration::from_secs(5)).iter().filter(|call| call.is_err()).count();
        let again = until(Duration::from_secs(15), || call(Duration::from_secs(10)).iter().all(Result::is_ok));
        assert!(again.is_some(), "after a stall calls are answered again");
        sleep(Duration::from_secs(10));
    }
    assert_nobody_left(&[&a, &b], since);
    format!("all stayed members; {lost} of 4 calls failed that met a stall")
}

#[cfg(unix)]
fn stopped(transport: Transport, stop: Duration) -> String {
    let lab = Lab::new();
    let a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let joining = Start::new(transport).bootstrap(a.at("10.9.0.1"));
    let b = joining.on(&lab.host("b", &["10.9.0.2/24"]));
    let c = joining.on(&lab.host("c", &["10.9.0.3/24"]));
    meet(&[&a, &b, &c]);
    let ways = watch(&[(&a, &b), (&b, &c)]);
    let others = watch(&[(&a, &c)]);
    settle(&ways);
    settle(&others);
    let since = now();
    b.pause();
    sleep(stop);
    b.resume();
    let figures = judge(&ways, now(), transport.goal());
    assert_undisturbed(&others, since);
    if stop < Duration::from_secs(10) {
        assert_nobody_left(&[&a, &b, &c], since);
    }
    let all = [&a, &b, &c];
    assert!(meeting(&all, Duration::ZERO).is_some(), "all are members of each other: {}", members_of(&all));
    figures
}

fn churn(transport: Transport) -> String {
    let lab = Lab::new();
    let [a, b] = pair(transport, &lab);
    let ways = watch(&[(&a, &b)]);
    settle(&ways);
    let crowded = lab.host("g", &["10.9.0.7/24"]);
    let listen = transport.listen(Family::V4)[0].replace("4001", "0");
    let round = |guests: u64| {
        let mut crowd = Agent::helper(&crowded, "crowd", &[&a.at("10.9.0.1")[0], &listen]);
        let met = until(Duration::from_secs(60), || crowd.guests() >= guests);
        assert!(met.is_some(), "{} guests of {guests} were answered", crowd.guests());
        crowd.kill();
        // What fell silent is given up by then.
        let alone = until(Duration::from_secs(60), || a.members().len() == 1 && b.members().len() == 1);
        assert!(
            alone.is_some(),
            "guests that have gone are members still: {} and {}",
            a.members().len(),
            b.members().len()
        );
        sleep(Duration::from_secs(12));
        a.usage()
    };
    let since = now();
    let (descriptors, memory) = round(40);
    let (descriptors_later, memory_later) = round(40);
    assert_undisturbed(&ways, since);
    let figures = format!("{descriptors} -> {descriptors_later} descriptors, {memory} -> {memory_later} kB");
    assert!(descriptors_later <= descriptors + 2, "{figures}");
    assert!(memory_later <= memory + memory / 10 + 2048, "{figures}");
    figures
}

/// All in this process, over loopback.
fn simultaneous(transport: Transport) -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let took = runtime.block_on(async {
        let listen = transport.listen(Family::V4)[0].replace("0.0.0.0", "127.0.0.1").replace("4001", "0");
        let mut pairs = Vec::new();
        for _ in 0..30 {
            let [one, other] = [named("one"), named("other")].map(|builder| builder.listen(&*listen).start());
            pairs.push((one.await.unwrap(), other.await.unwrap()));
        }
        for (one, other) in &pairs {
            one.add_address(other.peer_id(), other.addresses().remove(0)).unwrap();
            other.add_address(one.peer_id(), one.addresses().remove(0)).unwrap();
        }
        let begun = std::time::Instant::now();
        // Some at once, some while connections that lose are closed, some after.
        for pause in [0, 20, 200, 2000] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let calls = pairs.iter().flat_map(|(one, other)| {
                [(one, other.peer_id(), "other"), (other, one.peer_id(), "one")].map(async |(from, to, name)| {
                    let answer = HostClient::new(from).peer(to).name().await;
                    assert_eq!(answer.as_deref().map_err(RpcError::to_string), Ok(name), "after {pause} ms");
                })
            });
            futures::future::join_all(calls).await;
        }
        begun.elapsed()
    });
    runtime.shutdown_background();
    format!("240 calls in {:.1} s", took.as_secs_f64())
}
