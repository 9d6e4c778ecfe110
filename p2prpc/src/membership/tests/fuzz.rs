//! What peers say of themselves and of others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bolero::TypeGenerator;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use crate::codec::{self, CodecId};
use crate::error::RpcError;
use crate::membership::address_filter::{MAX_ADDRESSES, Scope, filter, may_tell};
use crate::membership::key::topic;
use crate::membership::machine::Discovery;
use crate::membership::messages::{Blob, Cursor, Description, Listed, Listing};
use crate::membership::{Action, DialFailure, DiscoveryConfig, Input};
use crate::networks::{Networks, ip_of};
use crate::service::Service;

const KAD: StreamProtocol = StreamProtocol::new("/ipfs/kad/1.0.0");

/// One of a few peers.
pub(crate) fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[&[0x12, 0x20][..], &[n % 8; 32]].concat()).unwrap()
}

/// What may be said to be an address.
#[derive(Clone, Debug, TypeGenerator)]
pub(crate) enum Place {
    Bytes(Vec<u8>),
    Ip4 { ip: [u8; 4], port: u16, quic: bool, of: Option<u8> },
    Ip6 { ip: [u8; 16], port: u16, quic: bool, of: Option<u8> },
    Loopback(u16),
    Name(String, u16),
    Relayed(u8),
}

impl Place {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Place::Bytes(bytes) => bytes.clone(),
            _ => self.address().map_or(Vec::new(), |address| address.to_vec()),
        }
    }

    pub(crate) fn address(&self) -> Option<Multiaddr> {
        let at = |ip: Protocol<'_>, port: u16, quic: bool, of: Option<u8>| {
            let address = Multiaddr::empty().with(ip.acquire());
            let address = match quic {
                true => address.with(Protocol::Udp(port)).with(Protocol::QuicV1),
                false => address.with(Protocol::Tcp(port)),
            };
            of.map_or(address.clone(), |of| address.with(Protocol::P2p(peer(of))))
        };
        match self {
            Place::Bytes(bytes) => Multiaddr::try_from(bytes.clone()).ok(),
            Place::Ip4 { ip, port, quic, of } => Some(at(Protocol::Ip4((*ip).into()), *port, *quic, *of)),
            Place::Ip6 { ip, port, quic, of } => Some(at(Protocol::Ip6((*ip).into()), *port, *quic, *of)),
            Place::Loopback(port) => Some(at(Protocol::Ip4([127, 0, 0, 1].into()), *port, false, None)),
            Place::Name(name, port) => {
                Some(Multiaddr::empty().with(Protocol::Dns4(name.into())).with(Protocol::Tcp(*port)))
            }
            Place::Relayed(by) => {
                Some(at(Protocol::Ip4([203, 0, 113, 1].into()), 1, false, Some(*by)).with(Protocol::P2pCircuit))
            }
        }
    }
}

pub(crate) fn addresses(places: &[Place]) -> Vec<Multiaddr> {
    places.iter().filter_map(Place::address).collect()
}

fn is_of(address: &Multiaddr, peer: PeerId) -> bool {
    address.iter().last() == Some(Protocol::P2p(peer))
}

#[test]
fn addresses_that_are_believed_can_be_dialled_and_are_few() {
    fuzz!().with_type::<(u8, Vec<Place>, u8)>().for_each(|(of, places, scope)| {
        let teller = [Scope::Public, Scope::Private, Scope::Loopback][usize::from(scope % 3)];
        let believed = filter(&peer(*of), &addresses(places), teller, &Networks::fixed([]));
        assert!(believed.len() <= MAX_ADDRESSES);
        assert_eq!(believed.iter().collect::<BTreeSet<_>>().len(), believed.len(), "each once");
        for address in &believed {
            assert!(is_of(address, peer(*of)) && may_tell(teller, address), "{address}");
            let ip = ip_of(address).expect("it begins with an IP");
            assert!(!ip.is_multicast() && !ip.is_unspecified(), "{address}");
        }
    });
}

#[derive(Clone, Debug, TypeGenerator)]
enum Event {
    Passes { millis: u16 },
    Connected { peer: u8, place: Place, outbound: bool },
    Disconnected(u8),
    DialFailed { peer: u8, tried: Vec<Place>, no_route: bool, aborted: bool },
    Supported(u8),
    Identified { peer: u8, places: Vec<Place>, kad: bool },
    Silent(u8),
    Described { peer: u8, shares: bool, services: Vec<String>, version: u64 },
    DescribedBy { peer: u8, bytes: Vec<u8> },
    Listed { peer: u8, epoch: u64, version: u64, more: bool, members: Vec<(u8, Vec<Place>)>, gone: Vec<u8> },
    ListedBy { peer: u8, bytes: Vec<u8> },
    Leaves(u8),
    Providers(Vec<(u8, Vec<Place>)>),
    Wanted(u8),
    LookedUp { peer: u8, places: Vec<Place> },
    Blocked(u8),
    NetworkChanged,
    ShutDown,
}

struct Scene {
    discovery: Discovery,
    now: Instant,
    connected: BTreeSet<PeerId>,
    closing: bool,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        let config = DiscoveryConfig {
            local: peer(0),
            rendezvous: vec!["ours".into()],
            bootstrap: vec![(peer(1), "/ip4/192.0.2.1/tcp/1".parse().unwrap())],
            remembered: Vec::new(),
            serves: true,
            max_connected_members: 4,
            scope: Scope::Public,
            networks: Networks::fixed([]),
            private: false,
            application: "/test".into(),
            kad_protocol: KAD,
            gorpc: None,
            visible: Arc::new(|_| vec![Service::of_test("Service")]),
            seed: 1,
        };
        Scene { discovery: Discovery::new(config, now), now, connected: BTreeSet::new(), closing: false }
    }

    fn input(&mut self, event: &Event) -> Option<Input> {
        Some(match event {
            Event::Passes { millis } => {
                self.now += Duration::from_millis((*millis).into());
                Input::Tick
            }
            Event::Connected { peer: of, place, outbound } => {
                let address = place.address()?;
                // What was dialled is an address.
                let outbound = *outbound && Scope::of(&address).is_some();
                Input::Connected { peer: peer(*of), address, outbound, first: self.connected.insert(peer(*of)) }
            }
            Event::Disconnected(of) => {
                self.connected.remove(&peer(*of)).then_some(Input::Disconnected { peer: peer(*of) })?
            }
            Event::DialFailed { peer: of, tried, no_route, aborted } => {
                let tried = addresses(tried);
                let no_route = if *no_route { tried.iter().filter_map(ip_of).collect() } else { Vec::new() };
                let error = "it failed".into();
                let failure = DialFailure { error, reasons: Vec::new(), tried, no_route, aborted: *aborted };
                Input::DialFailed { peer: peer(*of), failure }
            }
            Event::Supported(of) => Input::Supported { peer: peer(*of) },
            Event::Identified { peer: of, places, kad } => Input::Identified {
                peer: peer(*of),
                listen_addresses: addresses(places),
                protocols: kad.then_some(KAD).into_iter().collect(),
            },
            Event::Silent(of) => Input::Silent { peer: peer(*of) },
            Event::Described { peer: of, shares, services, version } => {
                let shared = vec![topic(if *shares { "ours" } else { "theirs" })];
                let methods = services.iter().map(|name| (name.len() as u64, *version)).collect();
                let answer = Description { shared, services: services.clone(), version: *version, methods };
                Input::Described { peer: peer(*of), answer: Ok(answer) }
            }
            Event::DescribedBy { peer: of, bytes } => {
                Input::Described { peer: peer(*of), answer: codec::decode(CodecId::BINCODE, bytes).map_err(bad) }
            }
            Event::Listed { peer: of, epoch, version, more, members, gone } => {
                let listed = |(of, places): &(u8, Vec<Place>)| Listed {
                    peer: Blob(peer(*of).to_bytes()),
                    addresses: places.iter().map(|place| Blob(place.bytes())).collect(),
                };
                let answer = Listing {
                    cursor: Cursor { epoch: *epoch, version: *version },
                    more: *more,
                    members: members.iter().map(listed).collect(),
                    gone: gone.iter().map(|of| Blob(peer(*of).to_bytes())).collect(),
                    description: *version,
                };
                Input::Listed { peer: peer(*of), answer: Ok(answer) }
            }
            Event::ListedBy { peer: of, bytes } => {
                Input::Listed { peer: peer(*of), answer: codec::decode(CodecId::BINCODE, bytes).map_err(bad) }
            }
            Event::Leaves(of) => Input::PeerIsLeaving { peer: peer(*of) },
            Event::Providers(peers) => {
                Input::Providers { peers: peers.iter().map(|(of, places)| (peer(*of), addresses(places))).collect() }
            }
            Event::Wanted(of) => Input::AddressesWanted { peer: peer(*of) },
            Event::LookedUp { peer: of, places } => {
                Input::PeerLookedUp { peer: peer(*of), addresses: addresses(places) }
            }
            Event::Blocked(of) => Input::Blocked { peer: peer(*of) },
            Event::NetworkChanged => Input::NetworkChanged,
            Event::ShutDown => Input::ShuttingDown,
        })
    }

    fn happens(&mut self, event: &Event) {
        let Some(input) = self.input(event) else { return };
        let closing = self.closing;
        self.closing |= matches!(event, Event::ShutDown);
        self.discovery.input(input, self.now);
        for n in 0.. {
            let Some(action) = self.discovery.next_action() else { break };
            assert!(n < 1_000, "it goes on for ever: {action:?}");
            match action {
                Action::Dial { peer: of, addresses } => {
                    assert!(!closing, "nothing is dialled while the node ends");
                    assert!(of != peer(0) && !addresses.is_empty());
                    let user = |address: &Multiaddr| of == peer(1) && address.to_string() == "/ip4/192.0.2.1/tcp/1";
                    for address in addresses.iter().filter(|address| !user(address)) {
                        assert!(Scope::of(address).is_some(), "{address} can't be dialled");
                        assert!(is_of(address, of) || of == peer(1), "{address} isn't one of {of}");
                    }
                }
                Action::Ask(question) => assert!(self.connected.contains(&question.peer), "only who is connected"),
                Action::Joined { peer: of, .. } => assert!(of != peer(0), "nobody is a member of itself"),
                _ => {}
            }
        }
        assert!(self.discovery.members.len() < 8 && !self.discovery.members.contains_key(&peer(0)));
    }
}

fn bad(error: codec::CodecError) -> RpcError {
    RpcError::answered(crate::error::ErrorKind::BadReply, error)
}

#[test]
fn whatever_peers_say_only_what_can_be_dialled_is_dialled() {
    fuzz!().with_type::<Vec<Event>>().for_each(|events: &Vec<Event>| {
        let mut scene = Scene::new();
        for event in events {
            scene.happens(event);
        }
        for _ in 0..40 {
            scene.happens(&Event::Passes { millis: 250 });
        }
    });
}
