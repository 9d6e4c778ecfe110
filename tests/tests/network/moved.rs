//! A node ends without a word, and is somewhere else, or there again.

use std::time::Duration;

use libtest_mimic::Trial;
use p2prpc_tests::network::Lab;

use super::agent::{CALL_TIMEOUT, Start, meet, until};
use super::node::now;
use super::watching::{judge, judge_with, settle, watch};
use super::{Transport, trial};

pub(crate) fn trials(transport: Transport) -> Vec<Trial> {
    vec![
        trial(transport, "identity_that_moved_to_another_host", moves),
        trial(transport, "node_that_is_killed_and_restarted", restarts),
        trial(transport, "node_that_is_killed_and_restarted_three_times", restarts_often),
    ]
}

/// A machine is cut off. Another one takes over its identity.
fn moves(transport: Transport) -> String {
    let lab = Lab::new();
    let a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let joining = Start::new(transport).bootstrap(a.at("10.9.0.1"));
    let old_host = lab.host("b", &["10.9.0.2/24"]);
    let (old, d) = (joining.clone().seed(7).on(&old_host), joining.on(&lab.host("d", &["10.9.0.4/24"])));
    let new_host = lab.host("c", &["10.9.0.3/24"]);
    meet(&[&a, &old, &d]);
    for caller in [&a, &d] {
        caller.watch(&old.peer);
    }
    settle(&watch(&[(&a, &d)]));
    old_host.cut("eth0");
    let new = joining.seed(7).on(&new_host);
    assert_eq!(new.peer, old.peer);
    let since = now();
    new.watch(&a.peer);
    new.watch(&d.peer);
    let ways = [(&a, &new), (&d, &new), (&new, &a), (&new, &d)];
    let ways = ways.map(|(from, to)| super::watching::Way { from, to });
    let figures = judge(&ways, since, transport.goal());
    for caller in [&a, &d] {
        let last = caller.calls(&new.peer).pop().expect("it calls");
        assert_eq!(last.result.as_deref(), Ok("c"), "{} is answered by the new one", caller.name);
        let with_old = || caller.connections(&new.peer).iter().any(|connection| connection.is_with("10.9.0.2"));
        let gone = until(Duration::from_secs(10), || !with_old());
        assert!(gone.is_some(), "{} has a connection with the old one still", caller.name);
    }
    figures
}

/// How soon a node reaches others and is reached that is started again at once.
fn goal(transport: Transport) -> Duration {
    Duration::from_secs(if transport == Transport::Quic { 2 } else { 1 })
}

/// What a loaded machine may add to that.
const MARGIN: Duration = Duration::from_secs(1);

fn restarts(transport: Transport) -> String {
    restarted(transport, 1)
}

fn restarts_often(transport: Transport) -> String {
    restarted(transport, 3)
}

fn restarted(transport: Transport, times: usize) -> String {
    let lab = Lab::new();
    let a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let joining = Start::new(transport).bootstrap(a.at("10.9.0.1"));
    let b = joining.on(&lab.host("b", &["10.9.0.2/24"]));
    let host = lab.host("x", &["10.9.0.3/24"]);
    let start = joining.seed(9);
    let mut x = start.on(&host);
    meet(&[&a, &b, &x]);
    let (every, timeout) = (Duration::from_millis(100), CALL_TIMEOUT);
    for caller in [&a, &b] {
        caller.watch_every(&x.peer, every, timeout);
    }
    let mut since = now();
    for _ in 0..times {
        settle(&watch(&[(&a, &b)])[..1]);
        x.kill();
        x = start.on(&host);
        since = now();
        x.watch_every(&a.peer, every, timeout);
        x.watch_every(&b.peer, every, timeout);
    }
    let ways = [(&a, &x), (&b, &x), (&x, &a), (&x, &b)].map(|(from, to)| super::watching::Way { from, to });
    judge_with(&ways, since, goal(transport), MARGIN)
}
