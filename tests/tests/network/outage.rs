//! A cable is out for so long that everybody has given up.

use std::thread::sleep;
use std::time::Duration;

use libtest_mimic::Trial;
use p2prpc_tests::network::Lab;

use super::agent::{Start, meet, meeting, members_of, until};
use super::{MARGIN, Transport, trial};

pub(crate) fn trials(transport: Transport) -> Vec<Trial> {
    vec![trial(transport, "cable_that_is_out_for_long_and_nobody_to_bootstrap_from", without_bootstrap)]
}

const OUT: Duration = Duration::from_secs(40);
/// They have met again so soon after.
const GOAL: Duration = Duration::from_secs(20);

fn without_bootstrap(transport: Transport) -> String {
    let lab = Lab::new();
    let mut a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let joining = Start::new(transport).bootstrap(a.at("10.9.0.1"));
    let hosts = [("b", "10.9.0.2/24"), ("c", "10.9.0.3/24"), ("d", "10.9.0.4/24")];
    let hosts = hosts.map(|(name, address)| lab.host(name, &[address]));
    let [b, c, d] = hosts.each_ref().map(|host| joining.on(host));
    meet(&[&a, &b, &c, &d]);
    a.kill();
    hosts[2].cut("eth0");
    sleep(OUT);
    let alone = until(Duration::from_secs(60), || d.members().is_empty());
    assert!(alone.is_some(), "it sees that it is alone");
    hosts[2].mend("eth0");
    let all = [&b, &c, &d];
    let met = meeting(&all, GOAL + MARGIN);
    let met = met.unwrap_or_else(|| panic!("within {GOAL:?} and {MARGIN:?} they meet, but {}", members_of(&all)));
    format!("met after {:.1} s", met.as_secs_f64())
}
