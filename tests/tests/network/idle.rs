//! What nobody uses ends.

use std::thread::sleep;
use std::time::Duration;

use libtest_mimic::Trial;
use p2prpc_tests::network::Lab;

use super::agent::{Start, until};
use super::{Transport, trial};

pub(crate) fn trials(transport: Transport) -> Vec<Trial> {
    vec![trial(transport, "connection_of_strangers_that_nobody_uses_ends", ends)]
}

/// A call stream is kept for a minute after its last call, a connection for 10 s more.
const KEPT: Duration = Duration::from_secs(70);
fn ends(transport: Transport) -> String {
    let lab = Lab::new();
    let start = Start::new(transport).no_rendezvous();
    let a = start.on(&lab.host("a", &["10.9.0.1/24"]));
    let b = start.on(&lab.host("b", &["10.9.0.2/24"]));
    b.connect(&a.at("10.9.0.1")[0]);
    b.rest(&a.peer, Duration::ZERO, Duration::from_secs(5)).unwrap();
    sleep(KEPT - Duration::from_secs(10));
    let connections = || a.connections(&b.peer).len() + b.connections(&a.peer).len();
    let closed = until(Duration::from_secs(30), || connections() == 0);
    assert!(closed.is_some(), "{} connections are left", connections());
    let closed = KEPT - Duration::from_secs(10) + closed.unwrap_or_default();
    // Nobody dials again for what nobody uses.
    let again = until(Duration::from_secs(15), || connections() > 0);
    assert!(again.is_none(), "they are connected again after {again:?}");
    format!("closed after {:.0} s", closed.as_secs_f64())
}
