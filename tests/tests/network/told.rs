//! Which of its addresses a node tells whom.

use libp2p::futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, SwarmBuilder, identify, noise, tcp, yamux};
use libtest_mimic::Trial;
use p2prpc_tests::network::Lab;
use serde_json::json;

use super::agent::{Agent, Start};
use super::node::{parsed, say};
use super::{Transport, trial};

pub(crate) fn trials(transport: Transport) -> Vec<Trial> {
    vec![trial(transport, "each_is_told_the_addresses_that_reach_it", told)]
}

fn told(transport: Transport) -> String {
    let lab = Lab::new();
    let home = lab.host("b", &["203.0.113.2/24", "10.9.0.2/24"]);
    let b = Start::new(transport).on(&home);
    let near = lab.host("a", &["10.9.0.1/24"]);
    let far = lab.host("f", &["203.0.113.1/24"]);
    let hears = |host, ip: &str| {
        let listener = Agent::helper(host, "stranger", &[&b.at(ip)[0]]);
        ["203.0.113.2", "10.9.0.2", "127.0.0.1"].map(|ip| listener.addresses.iter().any(|it| it.contains(ip)))
    };
    assert_eq!(hears(&far, "203.0.113.2"), [true, false, false], "of the internet");
    assert_eq!(hears(&near, "10.9.0.2"), [true, true, false], "of the same network");
    assert_eq!(hears(&home, "127.0.0.1"), [true, true, true], "of the same machine");
    String::from("public, private and loopback addresses")
}

/// `ADDRESS`: asks who is there, and says where it says that it listens.
pub(crate) async fn stranger(arguments: Vec<String>) -> Result<(), String> {
    let [address] = &arguments[..] else { return Err("an address".into()) };
    let address: Multiaddr = parsed(address)?;
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .map_err(|error| error.to_string())?
        .with_quic()
        .with_behaviour(|key| identify::Behaviour::new(identify::Config::new("/stranger".into(), key.public())));
    let mut swarm = swarm.map_err(|error| error.to_string())?.build();
    swarm.dial(address).map_err(|error| error.to_string())?;
    loop {
        if let SwarmEvent::Behaviour(identify::Event::Received { peer_id, info, .. }) = swarm.select_next_some().await {
            let listens: Vec<String> = info.listen_addrs.iter().map(Multiaddr::to_string).collect();
            say("started", json!({"peer": peer_id.to_string(), "addresses": listens}));
        }
    }
}
