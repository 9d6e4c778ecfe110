//! Tells the faults of nodes from those of the machine: a datagram that goes to another host and back, twenty times a second.
//!
//! Where that takes long, the machine is too busy to carry packets, and a call that failed meanwhile says nothing of the nodes.

use std::net::{SocketAddr, UdpSocket};
use std::sync::OnceLock;
use std::time::Duration;

use p2prpc_tests::network::Lab;
use serde_json::json;

use super::agent::Agent;
use super::node::{now, parsed, say};

const EVERY: Duration = Duration::from_millis(50);
/// It takes less than one millisecond on a machine that is not busy.
const LONG: Duration = Duration::from_millis(200);
/// What was held up is made up for in this time.
const AFTER: u64 = 500;

static CANARY: OnceLock<Agent> = OnceLock::new();

/// Runs `tests` with it.
pub(crate) fn watching<T>(tests: impl FnOnce() -> T) -> T {
    let lab = Lab::new();
    let echo = Agent::helper(&lab.host("a", &["10.9.0.1/24"]), "echo", &["10.9.0.1:7"]);
    let canary = Agent::helper(&lab.host("b", &["10.9.0.2/24"]), "canary", &["10.9.0.1:7"]);
    CANARY.get_or_init(|| canary);
    let outcome = tests();
    drop(echo);
    outcome
}

/// True if the machine was too busy at some time between these two.
pub(crate) fn was_busy(begun: u64, ended: u64) -> bool {
    let stalls = CANARY.get().map(Agent::stalls).unwrap_or_default();
    stalls.iter().any(|(from, to)| *from <= ended && begun <= to + AFTER)
}

/// `ADDRESS`: sends back what comes.
pub(crate) fn echo(arguments: &[String]) -> Result<(), String> {
    let [address] = arguments else { return Err("an address".into()) };
    let socket = UdpSocket::bind(address).map_err(|error| error.to_string())?;
    say("started", json!({"peer": "", "addresses": []}));
    let mut datagram = [0; 8];
    while let Ok((length, from)) = socket.recv_from(&mut datagram) {
        // The next one will do as well.
        let _ = socket.send_to(&datagram[..length], from);
    }
    Ok(())
}

/// `ADDRESS`: of the one that sends back.
pub(crate) fn canary(arguments: &[String]) -> Result<(), String> {
    let [address] = arguments else { return Err("an address".into()) };
    let address: SocketAddr = parsed(address)?;
    let socket = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect(address)?;
        socket.set_read_timeout(Some(LONG * 5))?;
        Ok(socket)
    });
    let socket = socket.map_err(|error| error.to_string())?;
    say("started", json!({"peer": "", "addresses": []}));
    let mut datagram = [0; 8];
    loop {
        let begun = now();
        // One that is lost or late ends as an error, which takes long.
        if socket.send(&begun.to_be_bytes()).is_ok() {
            while socket.recv(&mut datagram).is_ok_and(|_| u64::from_be_bytes(datagram) != begun) {}
        }
        std::thread::sleep(EVERY);
        if Duration::from_millis(now().saturating_sub(begun)) > LONG + EVERY {
            say("stall", json!({"begun": begun}));
        }
    }
}
