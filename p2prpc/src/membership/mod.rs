//! Who is in our rendezvous, and how to reach them: a state machine without I/O and without a clock of its own.
//!
//! The node's task tells it what happened ([`Input`]) and when, and carries out what it asks for ([`Action`]). Peers come
//! from four sources: the bootstrap peers that the user named, provider records in the DHT, what members tell each other,
//! and our own memory. All but the first are hints: a peer is a member once we are connected to it and it has described
//! itself.

mod address_filter;
mod adverts;
mod bootstrap;
mod bucket;
mod candidates;
mod diagnosis;
mod dial_budget;
mod eager;
mod failure_detector;
mod flapping;
mod identified;
mod key;
mod lost;
mod machine;
mod member;
mod member_log;
mod messages;
mod peers;
mod protocol;
mod remembered;
mod strangers;
#[cfg(test)]
pub(crate) mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use libp2p::kad::RecordKey;
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use crate::error::RpcError;
use crate::members::Member;
use crate::networks::Networks;

pub(crate) use address_filter::{Scope, filter, may_tell};
pub use diagnosis::{Acquaintance, Diagnosis, Reached, Relation};
pub(crate) use dial_budget::{DialBudget, Source};
pub use key::rendezvous_key;
pub(crate) use key::{Topic, record_key, topic};
pub(crate) use machine::Discovery;
pub(crate) use member_log::VisibleServices;
pub(crate) use messages::{Description, Listing};
pub(crate) use protocol::{Question, say_leaving};
pub(crate) use remembered::MAX_REMEMBERED;

/// What discovery has to know from the start.
pub(crate) struct DiscoveryConfig {
    pub(crate) local: PeerId,
    /// The rendezvous of this node; none makes it a node that only helps others to find each other.
    pub(crate) rendezvous: Vec<Arc<str>>,
    /// As the user gave them. Several addresses of one peer are tried together.
    pub(crate) bootstrap: Vec<(PeerId, Multiaddr)>,
    /// Members that a node of before knew: to be found again.
    pub(crate) remembered: Vec<(PeerId, Vec<Multiaddr>)>,
    /// True if the node has a service to offer: only then it advertises itself.
    pub(crate) serves: bool,
    /// How many members are kept connected.
    pub(crate) max_connected_members: usize,
    /// Which addresses are believed when it isn't known who told them.
    pub(crate) scope: Scope,
    /// Which of a peer's addresses are likeliest to work.
    pub(crate) networks: Networks,
    /// True for [`Reachability::Private`](crate::Reachability::Private).
    pub(crate) private: bool,
    /// The application's name.
    pub(crate) application: String,
    /// The DHT's protocol: a peer that has it belongs into the routing table.
    pub(crate) kad_protocol: StreamProtocol,
    /// Where Go peers can be members: the protocol by which they are known.
    pub(crate) gorpc: Option<GorpcName>,
    /// The services that a peer may see. It may be slow or panic: it calls the user's rule.
    pub(crate) visible: VisibleServices,
    /// For jitter.
    pub(crate) seed: u64,
}

/// What a peer says that it speaks if it is a Go peer of this application.
#[derive(Clone, Debug)]
pub(crate) struct GorpcName {
    /// It has this one,
    pub(crate) gorpc: StreamProtocol,
    /// and not this one.
    pub(crate) native: StreamProtocol,
}

impl GorpcName {
    fn is_in(&self, protocols: &[StreamProtocol]) -> bool {
        protocols.contains(&self.gorpc) && !protocols.contains(&self.native)
    }
}

/// How a dial failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct DialFailure {
    /// In words for the user.
    pub(crate) error: String,
    /// Each address that was tried, and how it failed there.
    pub(crate) reasons: Vec<(Multiaddr, String)>,
    /// Where the peer wasn't.
    pub(crate) tried: Vec<Multiaddr>,
    /// To these our network had no way: that tells nothing of the peer.
    pub(crate) no_route: Vec<IpAddr>,
    /// We gave it up ourselves, which tells nothing of the peer either.
    pub(crate) aborted: bool,
}

impl DialFailure {
    /// Another dial of the peer failed before this one.
    pub(crate) fn add(&mut self, before: DialFailure) {
        self.reasons.extend(before.reasons);
        self.tried.extend(before.tried);
        self.no_route.extend(before.no_route);
        self.aborted &= before.aborted;
    }
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// Time passed. To come every [`Discovery::TICK`].
    Tick,
    /// A connection was made. `address` is the remote end, `first` false if there was one to the peer already.
    Connected { peer: PeerId, address: Multiaddr, outbound: bool, first: bool },
    /// A connection has lasted, or the peer has said something on one: it does want to be connected.
    Admitted { peer: PeerId },
    /// The last connection to the peer is gone.
    Disconnected { peer: PeerId },
    /// The peer closed its only connection at once, without a word: it doesn't admit us.
    RefusedUs { peer: PeerId },
    /// A dial failed, whoever asked for it. Also when the swarm refused it at once, unless a dial of that peer was
    /// under way already or it was connected: then its outcome is to come. Of several dials of one peer at a time the
    /// last to end says so for all.
    DialFailed { peer: PeerId, failure: DialFailure },
    /// The peer speaks the application's protocol.
    Supported { peer: PeerId },
    /// All connections to the peer are silent: it may be found elsewhere.
    Silent { peer: PeerId },
    /// What identify says of a connected peer.
    Identified { peer: PeerId, listen_addresses: Vec<Multiaddr>, protocols: Vec<StreamProtocol> },
    /// The peer answered a ping, or other bytes of it came, at this time.
    Heard { peer: PeerId, at: Instant },
    /// What came of a question.
    Described { peer: PeerId, answer: Result<Description, RpcError> },
    /// What came of another question.
    Listed { peer: PeerId, answer: Result<Listing, RpcError> },
    /// The peer told us that it leaves.
    PeerIsLeaving { peer: PeerId },
    /// Provider records, as far as they are known now. Their addresses are in the running query or in the own store:
    /// none if there are none there.
    Providers { peers: Vec<(PeerId, Vec<Multiaddr>)> },
    /// A query for provider records has ended, well or not.
    ProvidersDone { key: RecordKey },
    /// A query that was to make us a provider has ended.
    Provided { key: RecordKey, ok: bool },
    /// Somebody calls a peer of which no address is known.
    AddressesWanted { peer: PeerId },
    /// The answer to [`Action::FindPeer`]; no addresses if it wasn't found.
    PeerLookedUp { peer: PeerId, addresses: Vec<Multiaddr> },
    /// A peer was seen on the local network.
    #[cfg_attr(not(feature = "mdns"), expect(dead_code, reason = "mDNS is what finds peers there"))]
    SeenNearby { peer: PeerId, addresses: Vec<Multiaddr> },
    /// The addresses that the node gives as its own are other ones now; `reachable` if there are any.
    OwnAddressesChanged { reachable: bool },
    /// An interface or an address of this machine came or went: what could not be reached before may be reachable now.
    NetworkChanged,
    /// A service was added.
    ServicesChanged,
    /// The user has blocked the peer.
    Blocked { peer: PeerId },
    /// The user has unblocked the peer.
    Unblocked { peer: PeerId },
    /// The node is shutting down: nothing is dialled, asked or advertised any more.
    ShuttingDown,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    /// Dial the peer at these addresses and no others, unless a dial of it is under way (`PeerCondition::NotDialing`).
    Dial { peer: PeerId, addresses: Vec<Multiaddr> },
    /// Close all connections to the peer.
    Close { peer: PeerId },
    /// Keep a connection to the peer alive, or no longer.
    Pin { peer: PeerId, pinned: bool },
    /// Ask a peer something: [`Question::ask`] in a task, then give back what it gives.
    Ask(Question),
    /// Tell these peers that we leave: [`say_leaving`].
    SayLeaving { peers: Vec<PeerId> },
    /// Look for provider records.
    GetProviders { key: RecordKey },
    /// Become a provider.
    Provide { key: RecordKey },
    /// Stop being a provider.
    StopProviding { key: RecordKey },
    /// In Kademlia's routing table the peer is there and nowhere else; without an address it isn't in it.
    SetKadAddresses { peer: PeerId, addresses: Vec<Multiaddr> },
    /// Tell nobody of this peer any more: it has said that it goes.
    Forget { peer: PeerId },
    /// Tell nobody any more that this peer is there: it isn't.
    ForgetAt { peer: PeerId, addresses: Vec<Multiaddr> },
    /// Look for the peer's addresses in the DHT.
    FindPeer { peer: PeerId },
    /// Here are the addresses that [`Input::AddressesWanted`] asked for; none if there are none.
    AddressesFound { peer: PeerId, addresses: Vec<Multiaddr> },
    /// A peer is a member now.
    Joined { peer: PeerId, member: Member },
    /// A member says other things of itself now.
    Changed { peer: PeerId, member: Member },
    /// A peer is no member any more.
    Left { peer: PeerId },
    /// A bootstrap peer is connected.
    BootstrapConnected { peer: PeerId, address: Multiaddr },
    /// A bootstrap peer could not be reached; it is dialled again later. Said once for each reason in a row.
    BootstrapFailed { peer: PeerId, address: Multiaddr, error: String },
    /// A connected peer is none of ours.
    Stranger { peer: PeerId, relation: Relation },
    /// The user should know.
    Warn(String),
}
