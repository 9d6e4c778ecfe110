//! Where others can reach a node.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::membership::Scope;

/// Where others can reach this node, and so which part it takes in the DHT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reachability {
    /// At every address it listens on: on one machine, in one local network, in one data centre. The default.
    ///
    /// The node takes part in the DHT in full and gives those addresses as its own. In a network where some peers can't
    /// reach them, peers waste time on them: say [`Public`](Reachability::Public) or [`Client`](Reachability::Client) there.
    #[default]
    Private,
    /// At these addresses, from everywhere: a server with a public address. They are given as they are, without a check.
    ///
    /// They are IP addresses. Peers don't look up names at the word of others, so `start()` refuses addresses with a name here; those
    /// of bootstrap peers and of [`Node::connect`](crate::Node::connect) can have one.
    ///
    /// The node takes part in the DHT in full.
    Public(Vec<Multiaddr>),
    /// Nowhere: it only calls out, and is called over the connections it has made.
    ///
    /// The node asks the DHT and is not in it, so others find it only through peers it is connected to.
    Client,
}

impl Reachability {
    /// Which addresses are believed when it can't be known who told them.
    pub(in crate::node) fn scope<'a>(&self, bootstrap: impl Iterator<Item = &'a Multiaddr>) -> Scope {
        match self {
            Reachability::Public(_) => Scope::Public,
            // Who joins through a peer on this machine may be told of others on it, and so on.
            Reachability::Private | Reachability::Client => {
                bootstrap.map(scope_of_bootstrap).max().unwrap_or(Scope::Loopback)
            }
        }
    }
}

fn scope_of_bootstrap(address: &Multiaddr) -> Scope {
    Scope::of(address).unwrap_or_else(|| match address.iter().next() {
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) if name == "localhost" => {
            Scope::Loopback
        }
        _ => Scope::Private,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(bootstrap: &[&str]) -> Scope {
        let addresses: Vec<Multiaddr> = bootstrap.iter().map(|address| address.parse().unwrap()).collect();
        Reachability::Private.scope(addresses.iter())
    }

    #[test]
    fn the_nearest_bootstrap_peer_says_how_near_others_may_be() {
        assert_eq!(scope(&[]), Scope::Loopback);
        assert_eq!(scope(&["/ip4/203.0.113.1/tcp/1"]), Scope::Public);
        assert_eq!(scope(&["/ip4/203.0.113.1/tcp/1", "/ip4/10.0.0.1/tcp/1"]), Scope::Private);
        assert_eq!(scope(&["/dns4/node-1/tcp/1"]), Scope::Private);
        assert_eq!(scope(&["/dns/localhost/tcp/1"]), Scope::Loopback);
    }
}
