//! What we keep of the DHT for others: provider records, bounded, and nothing else.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::iter;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};
use libp2p::multiaddr::Protocol;

use super::address_filter::{Scope, filter};
use super::key::{Topic, record_key};
use crate::node::networks::Networks;

/// Keys that are not ours. Ours are always taken, so that no number of foreign ones keeps us from meeting.
const MAX_FOREIGN_KEYS: usize = 768;
/// Providers of one key. Those that are there stay, so that a flood of new ones doesn't push them out.
const MAX_PROVIDERS: usize = 256;
/// Addresses of one record, in bytes together.
const MAX_ADDRESS_BYTES: usize = 1024;
/// A full store is searched for expired records no more often than this.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// A store for [`kad::Behaviour`](libp2p::kad::Behaviour) that keeps provider records within bounds, and no value records.
///
/// To be used with `StoreInserts::FilterBoth`, giving it the records of `InboundRequest::AddProvider`: the other
/// insertion policy logs each refusal.
#[derive(Debug)]
pub(in crate::node) struct ProviderStore {
    local: PeerId,
    /// Who stores a record says where it is, from an unknown distance.
    scope: Scope,
    networks: Networks,
    own_keys: HashSet<RecordKey>,
    foreign: usize,
    keys: HashMap<RecordKey, Vec<ProviderRecord>>,
    provided: HashMap<RecordKey, ProviderRecord>,
    swept: Option<Instant>,
}

impl ProviderStore {
    /// A store of `local`, whose own keys are those of `rendezvous`. `scope` is the widest that addresses may have.
    pub(in crate::node) fn new<'a>(
        local: PeerId,
        rendezvous: impl IntoIterator<Item = &'a str>,
        scope: Scope,
        networks: Networks,
    ) -> Self {
        let topics: Vec<Topic> = rendezvous.into_iter().map(super::key::topic).collect();
        ProviderStore {
            local,
            scope,
            networks,
            own_keys: topics.iter().map(record_key).collect(),
            foreign: 0,
            keys: HashMap::new(),
            provided: HashMap::new(),
            swept: None,
        }
    }

    fn shorten(&self, record: &mut ProviderRecord) {
        let mut bytes = 0;
        record.addresses = filter(&record.provider, &record.addresses, self.scope, &self.networks);
        // Those who are told know whose addresses they are, and Go nodes of 2021 can't dial one that ends in a peer id.
        for address in &mut record.addresses {
            if let Some(Protocol::P2p(_)) = address.iter().last() {
                address.pop();
            }
        }
        record.addresses.retain(|address| {
            bytes += address.len();
            bytes <= MAX_ADDRESS_BYTES
        });
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_EVERY) {
            return;
        }
        self.swept = Some(now);
        let (own_keys, foreign) = (&self.own_keys, &mut self.foreign);
        self.keys.retain(|key, records| {
            records.retain(|record| !record.is_expired(now));
            let empty = records.is_empty();
            if empty && !own_keys.contains(key) {
                *foreign = foreign.saturating_sub(1);
            }
            !empty
        });
    }
}

impl RecordStore for ProviderStore {
    type RecordsIter<'a> = iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = Box<dyn Iterator<Item = Cow<'a, ProviderRecord>> + 'a>;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> Result<()> {
        Err(Error::MaxRecords)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        iter::empty()
    }

    fn add_provider(&mut self, mut record: ProviderRecord) -> Result<()> {
        if record.provider == self.local {
            self.provided.insert(record.key.clone(), record);
            return Ok(());
        }
        self.shorten(&mut record);
        let now = Instant::now();
        let is_own = self.own_keys.contains(&record.key);
        if !is_own && !self.keys.contains_key(&record.key) {
            if self.foreign >= MAX_FOREIGN_KEYS {
                self.sweep(now);
            }
            if self.foreign >= MAX_FOREIGN_KEYS {
                return Err(Error::MaxProvidedKeys);
            }
            self.foreign += 1;
        }
        let records = self.keys.entry(record.key.clone()).or_default();
        if let Some(known) = records.iter_mut().find(|known| known.provider == record.provider) {
            *known = record;
            return Ok(());
        }
        if records.len() >= MAX_PROVIDERS {
            records.retain(|known| !known.is_expired(now));
        }
        if records.len() >= MAX_PROVIDERS {
            return Err(Error::MaxProvidedKeys);
        }
        records.push(record);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let others = self.keys.get(key).map(|records| records.iter());
        self.provided.get(key).into_iter().chain(others.into_iter().flatten()).cloned().collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        Box::new(self.provided.values().map(Cow::Borrowed))
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        if *provider == self.local {
            self.provided.remove(key);
            return;
        }
        let Some(records) = self.keys.get_mut(key) else { return };
        records.retain(|record| record.provider != *provider);
        if records.is_empty() {
            self.keys.remove(key);
            if !self.own_keys.contains(key) {
                self.foreign = self.foreign.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::Multiaddr;

    use super::*;
    use crate::node::discovery::rendezvous_key;

    fn store() -> ProviderStore {
        ProviderStore::new(PeerId::random(), ["ours"], Scope::Loopback, Networks::fixed([]))
    }

    fn foreign_key(n: usize) -> RecordKey {
        rendezvous_key(&format!("not ours {n}"))
    }

    fn record(key: &RecordKey) -> ProviderRecord {
        ProviderRecord::new(key.clone(), PeerId::random(), Vec::new())
    }

    #[test]
    fn foreign_keys_are_bounded_and_never_keep_ours_out() {
        let mut store = store();
        let taken = (0..2_000).filter(|n| store.add_provider(record(&foreign_key(*n))).is_ok()).count();
        assert_eq!(taken, MAX_FOREIGN_KEYS);
        let ours = rendezvous_key("ours");
        assert!(store.add_provider(record(&ours)).is_ok());
        let own = ProviderRecord::new(ours.clone(), store.local, Vec::new());
        assert!(store.add_provider(own).is_ok());
        assert_eq!(store.providers(&ours).len(), 2);
        assert_eq!(store.provided().count(), 1);
    }

    #[test]
    fn room_comes_back_when_records_expire_or_are_removed() {
        let mut store = store();
        let old = Instant::now() - Duration::from_secs(1);
        for n in 0..MAX_FOREIGN_KEYS {
            store.add_provider(ProviderRecord { expires: Some(old), ..record(&foreign_key(n)) }).unwrap();
        }
        let fresh = record(&foreign_key(5_000));
        assert!(store.add_provider(fresh.clone()).is_ok());
        assert_eq!(store.foreign, 1);
        store.remove_provider(&fresh.key, &fresh.provider);
        assert_eq!((store.foreign, store.keys.len()), (0, 0));
    }

    #[test]
    fn providers_of_a_key_are_bounded_and_the_first_stay() {
        let mut store = store();
        let ours = rendezvous_key("ours");
        let first = record(&ours);
        store.add_provider(first.clone()).unwrap();
        for _ in 0..1_000 {
            let _ = store.add_provider(record(&ours));
        }
        let kept = store.providers(&ours);
        assert_eq!(kept.len(), MAX_PROVIDERS);
        assert!(kept.contains(&first));
        let renewed = ProviderRecord { expires: Some(Instant::now() + Duration::from_secs(1)), ..first };
        assert!(store.add_provider(renewed.clone()).is_ok());
        assert!(store.providers(&ours).contains(&renewed));
    }

    #[test]
    fn addresses_are_filtered_and_bounded() {
        let mut store = store();
        let key = rendezvous_key("ours");
        let mut long: Vec<Multiaddr> =
            (1..500).map(|port| format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()).collect();
        long.push("/dns4/example.com/tcp/1".parse().unwrap());
        long.reverse();
        store.add_provider(ProviderRecord { addresses: long, ..record(&key) }).unwrap();
        let kept = store.providers(&key).remove(0).addresses;
        assert_eq!(kept.len(), 8);
        assert!(kept.iter().all(|address| Scope::of(address) == Some(Scope::Private)));
        assert!(kept.iter().map(Multiaddr::len).sum::<usize>() <= MAX_ADDRESS_BYTES);
    }

    #[test]
    fn keeps_no_value_records() {
        let mut store = store();
        assert!(store.put(Record::new(foreign_key(1), vec![1, 2, 3])).is_err());
        assert!(store.get(&foreign_key(1)).is_none());
    }
}
