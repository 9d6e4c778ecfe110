//! Kademlia, held to our rules: what others tell is filtered before it is dialled or kept, and its answers come as what
//! discovery wants to know.

mod told;

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{
    self, BucketInserts, Event, GetClosestPeersError, GetClosestPeersOk, GetProvidersOk, InboundRequest, KBucketKey,
    Mode, QueryId, QueryResult, RecordKey, StoreInserts,
};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use super::ProviderStore;
use crate::membership::{DialBudget, Input, Scope, Source, may_tell};
use crate::networks::Networks;

/// Records that aren't renewed are gone after this. Discovery renews ours more often.
pub(in crate::node) const PROVIDER_TTL: Duration = Duration::from_secs(15 * 60);
/// How many peers a record is put to, a query ends with, and an answer lists.
const REPLICATION: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// An answer with 256 providers of 1 KiB of addresses each, and the closest peers.
const MAX_PACKET: usize = 512 * 1024;
/// How often the routing table is refreshed.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// A search for a peer that knows an address gives its other sources this long.
const PATIENCE: Duration = Duration::from_secs(1);
/// Addresses of one peer that are kept, told, and dialled at Kademlia's word.
const MAX_ADDRESSES: usize = 8;
/// A dial of a query waits no longer than this for leave, and then counts as failed: the query asks somebody else.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);
/// Dials of queries that wait. One more has failed.
const MAX_WAITING_DIALS: usize = 64;
/// Addresses of one peer among which those are chosen.
const MAX_LOOKED_AT: usize = 256;

pub(in crate::node) struct Kademlia {
    local: PeerId,
    inner: kad::Behaviour<ProviderStore>,
    /// Whose addresses we believe: Kademlia doesn't say who told it of an address.
    scope: Scope,
    networks: Networks,
    queries: HashMap<QueryId, Query>,
    next_refresh: Instant,
    budget: DialBudget,
    /// Dials that queries want and that may not be made yet.
    waiting: VecDeque<(PeerId, Instant)>,
    admitted: VecDeque<DialOpts>,
}

enum Query {
    Providers(RecordKey),
    Provide(RecordKey),
    Find { peer: PeerId, since: Instant },
}

impl Kademlia {
    pub(in crate::node) fn new(
        local: PeerId,
        protocol: StreamProtocol,
        store: ProviderStore,
        scope: Scope,
        budget: DialBudget,
        networks: Networks,
    ) -> Self {
        let mut config = kad::Config::new(protocol);
        config
            .set_replication_factor(REPLICATION)
            .set_max_packet_size(MAX_PACKET)
            .set_record_filtering(StoreInserts::FilterBoth)
            .set_kbucket_inserts(BucketInserts::Manual)
            .set_provider_record_ttl(Some(PROVIDER_TTL))
            .set_provider_publication_interval(None)
            .set_replication_interval(None)
            .set_publication_interval(None)
            .set_periodic_bootstrap_interval(None);
        Kademlia {
            local,
            inner: kad::Behaviour::with_config(local, store, config),
            scope,
            networks,
            queries: HashMap::new(),
            next_refresh: Instant::now() + REFRESH,
            budget,
            waiting: VecDeque::new(),
            admitted: VecDeque::new(),
        }
    }

    pub(in crate::node) fn set_mode(&mut self, mode: Mode) {
        self.inner.set_mode(Some(mode));
    }

    /// The peer is there and nowhere else. Without an address it goes out of the routing table.
    pub(in crate::node) fn set_addresses(&mut self, peer: &PeerId, addresses: &[Multiaddr]) {
        let said = addresses.iter().filter_map(|address| address.clone().with_p2p(*peer).ok());
        let said: Vec<Multiaddr> = said.take(MAX_ADDRESSES).collect();
        let mut known = self.routed_at(peer);
        if said.is_empty() || known.iter().any(|address| !matches!(address.iter().last(), Some(Protocol::P2p(_)))) {
            // One without the id, which Kademlia adds where the user dialled without, can't be taken out alone.
            self.inner.remove_peer(peer);
            known.clear();
        }
        if said.len() == known.len() && said.iter().all(|address| known.contains(address)) {
            return;
        }
        if known.is_empty() {
            // It may be one that waits for a place, whose addresses aren't seen.
            self.inner.remove_peer(peer);
        }
        for address in &said {
            self.inner.add_address(peer, address.clone());
        }
        for old in known.iter().filter(|known| !said.contains(known)) {
            self.inner.remove_address(peer, old);
        }
    }

    /// Where the routing table has it.
    fn routed_at(&mut self, peer: &PeerId) -> Vec<Multiaddr> {
        let key = KBucketKey::from(*peer);
        let bucket = self.inner.kbucket(*peer);
        let entry = bucket.and_then(|bucket| {
            bucket.iter().find(|entry| *entry.node.key == key).map(|entry| entry.node.value.iter().cloned().collect())
        });
        entry.unwrap_or_default()
    }

    /// The peer is gone, or not wanted: nobody is told of it any more, neither as one of the DHT nor as a provider.
    pub(in crate::node) fn forget(&mut self, peer: &PeerId) {
        self.inner.remove_peer(peer);
        self.inner.store_mut().forget(peer);
    }

    /// The peer isn't there, as we have seen ourselves. What others tell of it at other places stays.
    pub(in crate::node) fn forget_at(&mut self, peer: &PeerId, addresses: &[Multiaddr]) {
        for address in addresses {
            self.inner.remove_address(peer, address);
        }
        self.inner.store_mut().forget_at(peer, addresses);
    }

    pub(in crate::node) fn find_providers(&mut self, key: RecordKey) {
        let query = self.inner.get_providers(key.clone());
        self.queries.insert(query, Query::Providers(key));
    }

    /// False if there is no room in the own store.
    pub(in crate::node) fn provide(&mut self, key: RecordKey) -> bool {
        match self.inner.start_providing(key.clone()) {
            Ok(query) => {
                self.queries.insert(query, Query::Provide(key));
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the node can't be advertised");
                false
            }
        }
    }

    pub(in crate::node) fn stop_providing(&mut self, key: &RecordKey) {
        self.inner.stop_providing(key);
    }

    pub(in crate::node) fn find_peer(&mut self, peer: PeerId) {
        let query = self.inner.get_closest_peers(peer);
        self.queries.insert(query, Query::Find { peer, since: Instant::now() });
    }

    /// To be called now and then: keeps the routing table fresh, forgets expired records, and gives searches that have found something.
    pub(in crate::node) fn tick(&mut self, now: Instant) -> Vec<Input> {
        self.inner.store_mut().sweep(now);
        for (peer, since) in std::mem::take(&mut self.waiting) {
            self.want_dial(peer, since, now);
        }
        if now >= self.next_refresh {
            self.next_refresh = now + REFRESH;
            // Without a known peer there is nothing to refresh.
            let _ = self.inner.bootstrap();
        }
        let patient = |query: &Query| match query {
            Query::Find { peer, since } if now.saturating_duration_since(*since) >= PATIENCE => Some(*peer),
            _ => None,
        };
        let searches: Vec<_> =
            self.queries.iter().filter_map(|(id, query)| patient(query).map(|peer| (*id, peer))).collect();
        let mut found = Vec::new();
        for (query, peer) in searches {
            let addresses = self.addresses_of(peer);
            if !addresses.is_empty() {
                self.queries.remove(&query);
                if let Some(mut query) = self.inner.query_mut(&query) {
                    query.finish();
                }
                found.push(Input::PeerLookedUp { peer, addresses });
            }
        }
        found
    }

    /// A query wants a peer dialled, at the word of whoever answered it.
    fn want_dial(&mut self, peer: PeerId, since: Instant, now: Instant) {
        let addresses = self.addresses_of(peer);
        if addresses.is_empty() {
            // Others may know where it is: the user, or a connection there was.
            self.admitted.push_back(DialOpts::peer_id(peer).build());
            return;
        }
        let addresses = self.budget.admit(peer, Source::Query, &addresses, now);
        if !addresses.is_empty() {
            self.admitted.push_back(DialOpts::peer_id(peer).addresses(addresses).build());
        } else if self.waiting.len() < MAX_WAITING_DIALS && now.saturating_duration_since(since) < LEAVE_WITHIN {
            self.waiting.push_back((peer, since));
        } else {
            tracing::debug!(%peer, "a query of the DHT goes on without it: too many dials at the word of others");
            let (error, connection_id) = (DialError::Aborted, ConnectionId::new_unchecked(usize::MAX));
            let failure = DialFailure { peer_id: Some(peer), error: &error, connection_id };
            self.inner.on_swarm_event(FromSwarm::DialFailure(failure));
        }
    }

    /// What the routing table and the running queries know of a peer, filtered.
    fn addresses_of(&mut self, peer: PeerId) -> Vec<Multiaddr> {
        let nobody = ConnectionId::new_unchecked(usize::MAX);
        let known = self.inner.handle_pending_outbound_connection(nobody, Some(peer), &[], Endpoint::Dialer);
        self.believed(peer, known.unwrap_or_default())
    }

    fn believed(&self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) -> Vec<Multiaddr> {
        let mut believed = Vec::new();
        for address in addresses {
            let Ok(address) = address.with_p2p(peer) else { continue };
            if may_tell(self.scope, &address) && !believed.contains(&address) {
                believed.push(address);
            }
            if believed.len() == MAX_LOOKED_AT {
                break;
            }
        }
        let mut believed = self.networks.ordered(believed, None);
        believed.truncate(MAX_ADDRESSES);
        believed
    }

    /// What an event of Kademlia's means for discovery.
    fn translate(&mut self, event: Event) -> Option<Input> {
        match event {
            Event::OutboundQueryProgressed { id, result, step, .. } => {
                let input = self.progressed(id, result);
                if step.last {
                    self.queries.remove(&id);
                }
                input
            }
            // Kademlia adds each address that the peer was dialled at.
            Event::RoutingUpdated { peer, addresses, .. } if addresses.len() > MAX_ADDRESSES => {
                for surplus in addresses.iter().take(addresses.len() - MAX_ADDRESSES) {
                    self.inner.remove_address(&peer, surplus);
                }
                None
            }
            Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                if let Err(error) = self.inner.store_mut().add_provider(record) {
                    tracing::debug!(%error, "a provider record was not stored");
                }
                None
            }
            _ => None,
        }
    }

    fn progressed(&mut self, id: QueryId, result: QueryResult) -> Option<Input> {
        match (self.queries.get(&id)?, result) {
            (Query::Providers(_), QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { key, providers }))) => {
                let stored = self.inner.store_mut().providers(&key);
                let peers = providers.into_iter().map(|peer| {
                    let stored = stored.iter().filter(|record| record.provider == peer);
                    let mut addresses = self.believed(peer, stored.flat_map(|record| record.addresses.clone()));
                    // Those of the network are in the running query only, and only until the next event.
                    addresses.extend(self.addresses_of(peer));
                    addresses.dedup();
                    addresses.truncate(MAX_ADDRESSES);
                    (peer, addresses)
                });
                let peers = peers.collect();
                Some(Input::Providers { peers })
            }
            (Query::Providers(key), QueryResult::GetProviders(_)) => Some(Input::ProvidersDone { key: key.clone() }),
            (Query::Provide(key), QueryResult::StartProviding(result)) => {
                Some(Input::Provided { key: key.clone(), ok: result.is_ok() })
            }
            (Query::Find { peer, .. }, QueryResult::GetClosestPeers(result)) => {
                let peer = *peer;
                let (Ok(GetClosestPeersOk { peers, .. }) | Err(GetClosestPeersError::Timeout { peers, .. })) = result;
                let found = peers.into_iter().filter(|info| info.peer_id == peer).flat_map(|info| info.addrs);
                let mut addresses = self.believed(peer, found);
                if addresses.is_empty() {
                    addresses = self.addresses_of(peer);
                }
                Some(Input::PeerLookedUp { peer, addresses })
            }
            _ => None,
        }
    }
}

impl NetworkBehaviour for Kademlia {
    type ConnectionHandler = THandler<kad::Behaviour<ProviderStore>>;
    type ToSwarm = Input;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Ok(peer.map(|peer| self.addresses_of(peer)).unwrap_or_default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // It would start a bootstrap that fails for want of peers, with a warning, and tell others of listen addresses
        // that are not ours to be reached at. Those that are come as external addresses.
        if !matches!(event, FromSwarm::NewListenAddr(_) | FromSwarm::ExpiredListenAddr(_)) {
            self.inner.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(opts) = self.admitted.pop_front() {
                return Poll::Ready(ToSwarm::Dial { opts });
            }
            match self.inner.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(ToSwarm::Dial { opts }) => {
                    if let Some(peer) = opts.get_peer_id() {
                        let now = Instant::now();
                        self.want_dial(peer, now, now);
                    }
                }
                Poll::Ready(ToSwarm::GenerateEvent(event)) => {
                    if let Some(input) = self.translate(event) {
                        return Poll::Ready(ToSwarm::GenerateEvent(input));
                    }
                }
                Poll::Ready(other) => {
                    let local = self.local;
                    let other = other.map_out(|_| unreachable!("events were taken out before"));
                    return Poll::Ready(other.map_in(|message| told::told(&local, message)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kademlia(scope: Scope) -> Kademlia {
        let local = PeerId::random();
        let protocol = StreamProtocol::new("/test/kad");
        let networks = Networks::fixed([]);
        let store = ProviderStore::new(local, ["test"], scope, networks.clone());
        Kademlia::new(local, protocol, store, scope, DialBudget::new(Instant::now()), networks)
    }

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_the_routing_table_says_is_filtered_before_it_is_dialled() {
        let peer = PeerId::random();
        let said = addresses(&[
            "/dns4/internal.example/tcp/80",
            "/ip4/224.0.0.1/tcp/4001",
            "/ip4/203.0.113.1/tcp/0",
            "/ip4/127.0.0.1/tcp/6379",
            "/ip4/203.0.113.1/tcp/4001",
        ]);
        let mut kademlia = kademlia(Scope::Public);
        kademlia.set_addresses(&peer, &said);
        let dialled = kademlia
            .handle_pending_outbound_connection(ConnectionId::new_unchecked(0), Some(peer), &[], Endpoint::Dialer)
            .unwrap();
        assert_eq!(dialled, addresses(&[&format!("/ip4/203.0.113.1/tcp/4001/p2p/{peer}")]));
    }

    #[test]
    fn what_a_peer_says_last_replaces_what_it_said_before() {
        let peer = PeerId::random();
        let mut kademlia = kademlia(Scope::Public);
        for round in 0..100 {
            let said: Vec<Multiaddr> =
                (1..30).map(|port| format!("/ip4/203.0.113.{round}/tcp/{port}").parse().unwrap()).collect();
            kademlia.set_addresses(&peer, &said);
            let known: Vec<Multiaddr> =
                said[..MAX_ADDRESSES].iter().map(|address| address.clone().with_p2p(peer).unwrap()).collect();
            assert_eq!(kademlia.routed_at(&peer), known);
        }
        kademlia.set_addresses(&peer, &[]);
        assert!(kademlia.routed_at(&peer).is_empty());
    }

    #[test]
    fn a_peer_that_is_forgotten_is_told_of_no_more() {
        let peer = PeerId::random();
        let key = libp2p::kad::RecordKey::from(crate::membership::rendezvous_key("test"));
        let mut kademlia = kademlia(Scope::Public);
        kademlia.set_addresses(&peer, &addresses(&["/ip4/203.0.113.1/tcp/1"]));
        let record = kad::ProviderRecord::new(key.clone(), peer, addresses(&["/ip4/203.0.113.1/tcp/1"]));
        kademlia.inner.store_mut().add_provider(record).unwrap();
        kademlia.forget(&peer);
        assert!(kademlia.routed_at(&peer).is_empty());
        assert!(kademlia.inner.store_mut().providers(&key).is_empty());
    }

    #[test]
    fn queries_dial_within_the_budget_and_go_on_without_the_rest() {
        let mut kademlia = kademlia(Scope::Public);
        let now = Instant::now();
        for n in 0..500 {
            let peer = PeerId::random();
            kademlia.set_addresses(&peer, &addresses(&[&format!("/ip4/203.0.113.{}/tcp/4001", n % 250)]));
            if !kademlia.addresses_of(peer).is_empty() {
                kademlia.want_dial(peer, now, now);
            }
        }
        assert!((1..=8).contains(&kademlia.admitted.len()), "{}", kademlia.admitted.len());
        assert!(kademlia.waiting.len() <= MAX_WAITING_DIALS);
        kademlia.admitted.clear();
        kademlia.tick(now + LEAVE_WITHIN);
        assert!(kademlia.waiting.is_empty() && kademlia.admitted.len() <= 8);
    }

    #[test]
    fn eight_addresses_of_a_peer_are_dialled_and_none_of_another() {
        let (peer, other) = (PeerId::random(), PeerId::random());
        let foreign: Multiaddr = format!("/ip4/203.0.113.1/tcp/1/p2p/{other}").parse().unwrap();
        let many = (1..50).map(|port| format!("/ip4/203.0.113.1/tcp/{port}").parse().unwrap());
        let kademlia = kademlia(Scope::Public);
        assert!(kademlia.believed(peer, [foreign]).is_empty());
        assert_eq!(kademlia.believed(peer, many).len(), MAX_ADDRESSES);
    }
}
