//! Names of bootstrap peers, and who resolves them.

use std::thread::sleep;
use std::time::Duration;

use libtest_mimic::Trial;
use p2prpc_tests::network::{Host, Lab};
use tempfile::NamedTempFile;

use super::agent::{Agent, Start, meeting, members_of};
use super::{MARGIN, Transport, trial};

pub(crate) fn trials(transport: Transport) -> Vec<Trial> {
    vec![
        trial(transport, "name_server_that_changes", |transport| name_server(transport, Some("10.9.0.99"), Form::Dns4)),
        trial(transport, "name_server_that_comes_later", |transport| name_server(transport, None, Form::Dns4)),
        trial(transport, "name_server_that_changes_and_a_dnsaddr", |transport| {
            name_server(transport, Some("10.9.0.99"), Form::DnsAddr)
        }),
        trial(transport, "name_that_moves_to_another_address", name_moves),
    ]
}

/// Joined so soon after names can be looked up.
const GOAL: Duration = Duration::from_secs(15);

/// How a bootstrap peer is named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Dns4,
    DnsAddr,
}

/// A name server on a host of its own, and what it answers.
struct Names {
    zone: NamedTempFile,
    _server: Agent,
}

impl Names {
    const ADDRESS: &str = "10.9.0.53";

    fn new(lab: &Lab) -> Self {
        let zone = NamedTempFile::new().unwrap();
        let host = lab.host("n", &["10.9.0.53/24"]);
        let server = Agent::helper(&host, "names", &[Names::ADDRESS, zone.path().to_str().unwrap()]);
        Names { zone, _server: server }
    }

    fn set(&self, zone: &str) {
        std::fs::write(self.zone.path(), zone).unwrap();
    }
}

fn use_server(host: &Host<'_>, address: Option<&str>) {
    let server = address.map(|address| format!("nameserver {address}\n")).unwrap_or_default();
    host.resolver(&format!("{server}options timeout:1 attempts:1\n"));
}

/// The part of an address that follows the IP address.
fn after_ip(address: &str) -> String {
    let parts: Vec<&str> = address.split('/').collect();
    parts[3..].join("/")
}

fn name_server(transport: Transport, first: Option<&str>, form: Form) -> String {
    let lab = Lab::new();
    let names = Names::new(&lab);
    let a = Start::new(transport).on(&lab.host("a", &["10.9.0.1/24"]));
    let at = a.at("10.9.0.1").remove(0);
    names.set(&format!("boot.lab A 10.9.0.1\n_dnsaddr.boot.lab TXT dnsaddr={at}\n"));
    let named = match form {
        Form::Dns4 => format!("/dns4/boot.lab/{}", after_ip(&at)),
        Form::DnsAddr => format!("/dnsaddr/boot.lab/p2p/{}", a.peer),
    };
    let host = lab.host("b", &["10.9.0.2/24"]);
    use_server(&host, first);
    let b = Start::new(transport).bootstrap([named]).on(&host);
    sleep(Duration::from_secs(6));
    assert!(b.members().is_empty(), "there is nobody who could resolve the name");
    use_server(&host, Some(Names::ADDRESS));
    joined(&[&a, &b])
}

fn joined(all: &[&Agent]) -> String {
    let joined = meeting(all, GOAL + MARGIN);
    let joined = joined.unwrap_or_else(|| panic!("within {GOAL:?} and {MARGIN:?} they meet, but {}", members_of(all)));
    format!("joined after {:.1} s", joined.as_secs_f64())
}

fn name_moves(transport: Transport) -> String {
    let lab = Lab::new();
    let names = Names::new(&lab);
    let start = Start::new(transport).seed(1);
    let mut old = start.on(&lab.host("a", &["10.9.0.1/24"]));
    names.set("boot.lab A 10.9.0.1\n");
    let named = format!("/dns4/boot.lab/{}", after_ip(&old.at("10.9.0.1")[0]));
    let host = lab.host("b", &["10.9.0.2/24"]);
    use_server(&host, Some(Names::ADDRESS));
    let b = Start::new(transport).bootstrap([named]).on(&host);
    joined(&[&old, &b]);
    old.kill();
    names.set("boot.lab A 10.9.0.3\n");
    sleep(Duration::from_secs(3));
    let new = start.on(&lab.host("c", &["10.9.0.3/24"]));
    joined(&[&new, &b])
}
