//! Why a node has the company that it has, or none.

use std::collections::BTreeMap;
use std::fmt;

use libp2p::{Multiaddr, PeerId};

/// Peers, addresses and names of each kind that are written out in a sentence.
const WRITTEN_OUT: usize = 4;

/// What a node knows of its own connectedness: [`Node::diagnose`](crate::Node::diagnose) gives it.
///
/// `Display` is for a person who wonders why a node is alone: a line for each fact, and with each cause what to do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The application's name of this node: [`protocol`](crate::NodeBuilder::protocol).
    pub protocol: String,
    /// The name of its DHT: [`kad_protocol`](crate::NodeBuilder::kad_protocol).
    pub kad_protocol: String,
    /// The rendezvous of this node; without one it has no members.
    pub rendezvous: Vec<String>,
    /// How many members there are.
    pub members: usize,
    /// What is known of each peer that is connected.
    pub connected: BTreeMap<PeerId, Acquaintance>,
    /// The bootstrap peers, by the addresses that the node was given, and what came of each.
    pub bootstrap: BTreeMap<Multiaddr, Reached>,
    /// Where the node says that it can be reached, and how many connections others have made to it there.
    pub own_addresses: BTreeMap<Multiaddr, usize>,
    /// Connections that others have made to it, wherever, since it started.
    pub inbound: usize,
    /// Addresses of peers that are not dialled, for whoever told of them is farther away: an address of a machine or a network of its
    /// own means another place there. At most 64 peers are kept.
    pub filtered: BTreeMap<PeerId, Vec<Multiaddr>>,
}

/// What is known of a peer that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acquaintance {
    /// What it is to us.
    pub relation: Relation,
    /// The names of its DHT, if it has one and none of them is ours.
    pub other_kad_protocols: Vec<String>,
}

/// What a connected peer is to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Relation {
    /// It is a member.
    Member,
    /// It is of this application, and hasn't said yet of which rendezvous.
    SameApplication,
    /// It is of this application, and shares no rendezvous with us: it has others, or none.
    OtherRendezvous,
    /// It doesn't speak this application's protocol, but these of p2prpc; none if it doesn't know p2prpc.
    OtherProtocol(Vec<String>),
    /// It hasn't said yet what it is.
    Unknown,
}

/// What came of a bootstrap peer's address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reached {
    /// The peer is connected, at this address or another one.
    Connected,
    /// It is being dialled, and nothing is known yet.
    Trying,
    /// It failed last, for this reason, and is tried again and again.
    Failed(String),
}

impl Diagnosis {
    fn count(&self, is: impl Fn(&Relation) -> bool) -> usize {
        self.connected.values().filter(|known| is(&known.relation)).count()
    }
}

/// The first few of these, and how many more there are.
fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    let first = items.iter().take(WRITTEN_OUT).map(String::as_str).collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(WRITTEN_OUT) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strangers = self.count(|relation| matches!(relation, Relation::OtherProtocol(_)));
        let unknown = self.count(|relation| *relation == Relation::Unknown);
        let elsewhere = self.count(|relation| *relation == Relation::OtherRendezvous);
        let of_application = self.connected.len() - strangers - unknown;
        write!(
            f,
            "{} members; connected to {} peers, {of_application} of them of this application ({}), {elsewhere} of those in another \
             rendezvous",
            self.members,
            self.connected.len(),
            self.protocol
        )?;
        self.say_rendezvous(f, elsewhere)?;
        self.say_protocols(f)?;
        self.say_bootstrap(f)?;
        self.say_addresses(f)
    }
}

impl Diagnosis {
    fn say_rendezvous(&self, f: &mut fmt::Formatter<'_>, elsewhere: usize) -> fmt::Result {
        if self.rendezvous.is_empty() {
            write!(
                f,
                "\nthis node has no rendezvous, so nobody is a member: give it the one of its peers, rendezvous(..)"
            )
        } else if elsewhere > 0 {
            let ours = list(self.rendezvous.iter().map(|name| format!("`{name}`")));
            write!(
                f,
                "\n{elsewhere} peers of this application share no rendezvous with us, ours is {ours}: compare rendezvous(..)"
            )
        } else {
            Ok(())
        }
    }

    fn say_protocols(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ours = &self.protocol;
        for (peer, known) in self.connected.iter().take(WRITTEN_OUT) {
            match &known.relation {
                Relation::OtherProtocol(others) if others.is_empty() => {
                    write!(f, "\n{peer} is no peer of p2prpc: it speaks nothing of {ours}")?;
                }
                Relation::OtherProtocol(others) => {
                    write!(
                        f,
                        "\n{peer} is of another application, {}, not of ours, {ours}: compare protocol(..)",
                        list(others)
                    )?;
                }
                _ => {}
            }
            if !known.other_kad_protocols.is_empty() {
                let (theirs, ours) = (list(&known.other_kad_protocols), &self.kad_protocol);
                write!(
                    f,
                    "\n{peer} has another DHT, {theirs}, not ours, {ours}: nobody is found through it, compare kad_protocol(..)"
                )?;
            }
        }
        Ok(())
    }

    fn say_bootstrap(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bootstrap.is_empty() && self.connected.is_empty() {
            write!(f, "\nthere are no bootstrap peers: name at least one, bootstrap(..)")?;
        }
        for (address, reached) in &self.bootstrap {
            match reached {
                Reached::Connected => write!(f, "\nthe bootstrap peer {address} is connected")?,
                Reached::Trying => write!(f, "\nthe bootstrap peer {address} is being dialled")?,
                Reached::Failed(error) => write!(f, "\nthe bootstrap peer {address} can't be reached: {error}")?,
            }
        }
        Ok(())
    }

    fn say_addresses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (peer, addresses) in self.filtered.iter().take(WRITTEN_OUT) {
            write!(
                f,
                "\n{peer} is said to be at {}, which is not dialled: from afar such an address means another machine; its node should \
                 give one that reaches here, reachability(..)",
                list(addresses)
            )?;
        }
        if self.own_addresses.is_empty() {
            return write!(f, "\nthis node gives no address as its own: others can't dial it");
        }
        let own = list(self.own_addresses.iter().map(|(address, reached)| match reached {
            0 => format!("{address} (nobody yet)"),
            reached => format!("{address} ({reached} times)"),
        }));
        write!(
            f,
            "\nothers have connected to this node {} times; it gives these addresses as its own: {own}",
            self.inbound
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knows(diagnosis: &mut Diagnosis, relation: Relation, kad: &[&str]) {
        let other_kad_protocols = kad.iter().map(|name| (*name).to_owned()).collect();
        diagnosis.connected.insert(PeerId::random(), Acquaintance { relation, other_kad_protocols });
    }

    #[test]
    fn each_cause_is_named() {
        let address = |port: u16| format!("/ip4/127.0.0.1/tcp/{port}").parse::<Multiaddr>().unwrap();
        let mut lonely =
            Diagnosis { protocol: "/mine".into(), kad_protocol: "/mine/kad/1.0.0".into(), ..Diagnosis::default() };
        let said = lonely.to_string();
        assert!(said.starts_with("0 members; connected to 0 peers, 0 of them of this application (/mine)"), "{said}");
        for cause in ["no rendezvous", "no bootstrap peers", "gives no address"] {
            assert!(said.contains(cause), "{said}");
        }
        lonely.rendezvous.push("red".into());
        knows(&mut lonely, Relation::OtherRendezvous, &[]);
        knows(&mut lonely, Relation::OtherProtocol(vec!["/yours".into()]), &[]);
        knows(&mut lonely, Relation::Unknown, &["/yours/kad/1.0.0"]);
        lonely.bootstrap.insert(address(1), Reached::Failed("Connection refused".into()));
        lonely.filtered.insert(PeerId::random(), vec![address(2)]);
        lonely.own_addresses.insert(address(3), 0);
        let said = lonely.to_string();
        for cause in [
            "share no rendezvous with us, ours is `red`",
            "of another application, /yours, not of ours, /mine",
            "another DHT, /yours/kad/1.0.0, not ours, /mine/kad/1.0.0",
            "/ip4/127.0.0.1/tcp/1 can't be reached: Connection refused",
            "at /ip4/127.0.0.1/tcp/2, which is not dialled",
            "/ip4/127.0.0.1/tcp/3 (nobody yet)",
        ] {
            assert!(said.contains(cause), "{cause}: {said}");
        }
    }
}
