//! What we keep of the DHT for others: provider records, bounded, and nothing else.

#[cfg(test)]
mod fuzz;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::iter;
use std::time::{Duration, Instant};

use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::membership::{Scope, Topic, filter, record_key, topic};
use crate::networks::Networks;
use crate::networks::bare;

/// Keys that are not ours. Ours are always taken, so that no number of foreign ones keeps us from meeting.
const MAX_FOREIGN_KEYS: usize = 768;
/// Providers of one key. Those that are there stay, so that a flood of new ones doesn't push them out.
const MAX_PROVIDERS: usize = 256;
/// Addresses of one record, in bytes together.
const MAX_ADDRESS_BYTES: usize = 1024;
/// A longer key is no key: Go nodes draw the same line.
const MAX_KEY: usize = 80;
/// All records under foreign keys together.
const MAX_FOREIGN_BYTES: usize = 4 << 20;
/// Of these, what one provider may have, and under how many foreign keys.
const MAX_BYTES_A_PROVIDER: usize = MAX_FOREIGN_BYTES / 16;
const MAX_KEYS_A_PROVIDER: usize = MAX_FOREIGN_KEYS / 4;
/// What a record takes beside its key and its addresses, and an address beside its bytes.
const RECORD_OVERHEAD: usize = 256;
const ADDRESS_OVERHEAD: usize = 64;
/// The store is searched for expired records this often.
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
    /// Of the records under foreign keys.
    ledger: Ledger,
    provided: HashMap<RecordKey, ProviderRecord>,
    swept: Option<Instant>,
}

/// What records take, in all and for each provider.
#[derive(Debug, Default)]
struct Ledger {
    bytes: usize,
    providers: HashMap<PeerId, Share>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    bytes: usize,
    records: usize,
}

impl Ledger {
    fn cost(record: &ProviderRecord) -> usize {
        let addresses = record.addresses.iter().map(|address| address.len() + ADDRESS_OVERHEAD);
        RECORD_OVERHEAD + record.key.as_ref().len() + addresses.sum::<usize>()
    }

    /// False, and nothing is taken, if there is no room.
    fn take(&mut self, record: &ProviderRecord) -> bool {
        let cost = Self::cost(record);
        let share = self.providers.get(&record.provider).copied().unwrap_or_default();
        let share = Share { bytes: share.bytes + cost, records: share.records + 1 };
        let bytes = self.bytes + cost;
        if bytes > MAX_FOREIGN_BYTES || share.bytes > MAX_BYTES_A_PROVIDER || share.records > MAX_KEYS_A_PROVIDER {
            return false;
        }
        self.bytes = bytes;
        self.providers.insert(record.provider, share);
        true
    }

    fn give_back(&mut self, record: &ProviderRecord) {
        let cost = Self::cost(record);
        self.bytes = self.bytes.saturating_sub(cost);
        if let Some(share) = self.providers.get_mut(&record.provider) {
            share.bytes = share.bytes.saturating_sub(cost);
            share.records = share.records.saturating_sub(1);
            if share.records == 0 {
                self.providers.remove(&record.provider);
            }
        }
    }
}

impl ProviderStore {
    /// A store of `local`, whose own keys are those of `rendezvous`. `scope` is the widest that addresses may have.
    pub(in crate::node) fn new<'a>(
        local: PeerId,
        rendezvous: impl IntoIterator<Item = &'a str>,
        scope: Scope,
        networks: Networks,
    ) -> Self {
        let topics: Vec<Topic> = rendezvous.into_iter().map(topic).collect();
        ProviderStore {
            local,
            scope,
            networks,
            own_keys: topics.iter().map(record_key).collect(),
            foreign: 0,
            keys: HashMap::new(),
            ledger: Ledger::default(),
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

    /// This peer is gone: whoever asks is not told of it any more.
    pub(in crate::node) fn forget(&mut self, provider: &PeerId) {
        if *provider != self.local {
            self.retain(|record| record.provider != *provider);
        }
    }

    /// This peer isn't there: records that have it nowhere else go.
    pub(in crate::node) fn forget_at(&mut self, provider: &PeerId, addresses: &[Multiaddr]) {
        let failed: Vec<Multiaddr> = addresses.iter().map(bare).collect();
        let is_failed = |address: &Multiaddr| failed.contains(&bare(address));
        let is_wrong = |record: &ProviderRecord| !record.addresses.is_empty() && record.addresses.iter().all(is_failed);
        self.retain(|record| record.provider != *provider || !is_wrong(record));
    }

    /// To be called now and then: forgets what has expired.
    pub(in crate::node) fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_EVERY) {
            return;
        }
        self.swept = Some(now);
        self.retain(|record| !record.is_expired(now));
    }

    fn retain(&mut self, keep: impl Fn(&ProviderRecord) -> bool) {
        let (own_keys, foreign, ledger) = (&self.own_keys, &mut self.foreign, &mut self.ledger);
        self.keys.retain(|key, records| {
            let is_own = own_keys.contains(key);
            records.retain(|record| {
                let kept = keep(record);
                if !kept && !is_own {
                    ledger.give_back(record);
                }
                kept
            });
            let empty = records.is_empty();
            if empty && !is_own {
                *foreign = foreign.saturating_sub(1);
            }
            !empty
        });
    }

    /// Take a record under a foreign key, or leave everything as it is.
    fn add_foreign(&mut self, record: ProviderRecord) -> Result<()> {
        let known = self.keys.get(&record.key);
        if known.is_none() && self.foreign >= MAX_FOREIGN_KEYS {
            return Err(Error::MaxProvidedKeys);
        }
        let known = known.and_then(|records| records.iter().find(|known| known.provider == record.provider));
        if let Some(known) = known {
            self.ledger.give_back(known);
        }
        if !self.ledger.take(&record) {
            if let Some(known) = known {
                // It was there before, so there is room for it.
                self.ledger.take(known);
            }
            return Err(Error::MaxProvidedKeys);
        }
        self.foreign += usize::from(!self.keys.contains_key(&record.key));
        put(self.keys.entry(record.key.clone()).or_default(), record).map_or(Ok(()), |refused| {
            self.ledger.give_back(&refused);
            Err(Error::MaxProvidedKeys)
        })
    }
}

/// Add a record or renew it; given back if there are too many.
fn put(records: &mut Vec<ProviderRecord>, record: ProviderRecord) -> Option<ProviderRecord> {
    if let Some(known) = records.iter_mut().find(|known| known.provider == record.provider) {
        *known = record;
        return None;
    }
    if records.len() >= MAX_PROVIDERS {
        return Some(record);
    }
    records.push(record);
    None
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
        if record.key.as_ref().len() > MAX_KEY {
            return Err(Error::ValueTooLarge);
        }
        self.shorten(&mut record);
        let now = Instant::now();
        if self.own_keys.contains(&record.key) {
            let records = self.keys.entry(record.key.clone()).or_default();
            if records.len() >= MAX_PROVIDERS {
                records.retain(|known| !known.is_expired(now));
            }
            return put(records, record).map_or(Ok(()), |_| Err(Error::MaxProvidedKeys));
        }
        if self.foreign >= MAX_FOREIGN_KEYS || self.ledger.bytes + Ledger::cost(&record) > MAX_FOREIGN_BYTES {
            self.sweep(now);
        }
        self.add_foreign(record)
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
        let is_own = self.own_keys.contains(key);
        let Some(records) = self.keys.get_mut(key) else { return };
        if let Some(at) = records.iter().position(|record| record.provider == *provider) {
            let gone = records.remove(at);
            if !is_own {
                self.ledger.give_back(&gone);
            }
        }
        if records.is_empty() {
            self.keys.remove(key);
            if !is_own {
                self.foreign = self.foreign.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::{record_key, topic};

    fn store() -> ProviderStore {
        ProviderStore::new(PeerId::random(), ["ours"], Scope::Loopback, Networks::fixed([]))
    }

    fn foreign_key(n: usize) -> RecordKey {
        record_key(&topic(&format!("not ours {n}")))
    }

    fn record(key: &RecordKey) -> ProviderRecord {
        ProviderRecord::new(key.clone(), PeerId::random(), Vec::new())
    }

    #[test]
    fn foreign_keys_are_bounded_and_never_keep_ours_out() {
        let mut store = store();
        let taken = (0..2_000).filter(|n| store.add_provider(record(&foreign_key(*n))).is_ok()).count();
        assert_eq!(taken, MAX_FOREIGN_KEYS);
        let ours = record_key(&topic("ours"));
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
        assert_eq!((store.ledger.bytes, store.ledger.providers.len()), (0, 0));
    }

    #[test]
    fn keys_longer_than_eighty_bytes_are_refused() {
        let mut store = store();
        assert!(store.add_provider(record(&RecordKey::from(vec![1; MAX_KEY]))).is_ok());
        assert!(store.add_provider(record(&RecordKey::from(vec![1; MAX_KEY + 1]))).is_err());
        assert_eq!(store.keys.len(), 1);
    }

    #[test]
    fn foreign_records_have_a_budget_of_bytes_and_a_provider_a_share_of_it() {
        let mut store = store();
        let one = PeerId::random();
        let long: Vec<Multiaddr> = (1..9).map(|port| format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()).collect();
        let of_one =
            |n| ProviderRecord { provider: one, addresses: long.clone(), ..record(&foreign_key(n % MAX_FOREIGN_KEYS)) };
        let taken = (0..MAX_FOREIGN_KEYS).filter(|n| store.add_provider(of_one(*n)).is_ok()).count();
        assert_eq!(taken, MAX_KEYS_A_PROVIDER);
        for n in 0..40_000 {
            let _ = store.add_provider(ProviderRecord { provider: PeerId::random(), ..of_one(n) });
        }
        assert!(store.ledger.bytes <= MAX_FOREIGN_BYTES && store.ledger.bytes > MAX_FOREIGN_BYTES / 2);
        let counted: usize = store.keys.values().flatten().map(Ledger::cost).sum();
        assert_eq!(counted, store.ledger.bytes);
        // What is renewed stays, with room or without.
        assert!(store.add_provider(of_one(0)).is_ok());
        assert!(store.add_provider(record(&record_key(&topic("ours")))).is_ok());
        assert_eq!(store.keys.values().flatten().map(Ledger::cost).sum::<usize>() - counted, {
            Ledger::cost(&record(&record_key(&topic("ours"))))
        });
    }

    #[test]
    fn what_has_expired_is_swept_without_anybody_adding() {
        let mut store = store();
        let now = Instant::now();
        let soon = now + Duration::from_secs(60);
        for n in 0..100 {
            store.add_provider(ProviderRecord { expires: Some(soon), ..record(&foreign_key(n)) }).unwrap();
        }
        let ours = record_key(&topic("ours"));
        store.add_provider(ProviderRecord { expires: Some(soon), ..record(&ours) }).unwrap();
        store.sweep(now + SWEEP_EVERY);
        assert_eq!(store.keys.len(), 101);
        store.sweep(soon + SWEEP_EVERY);
        assert_eq!((store.keys.len(), store.foreign, store.ledger.bytes), (0, 0, 0));
    }

    #[test]
    fn providers_of_a_key_are_bounded_and_the_first_stay() {
        let mut store = store();
        let ours = record_key(&topic("ours"));
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
        let key = record_key(&topic("ours"));
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
    fn one_that_is_gone_is_forgotten_and_the_others_stay() {
        let mut store = store();
        let (ours, foreign) = (record_key(&topic("ours")), foreign_key(1));
        let (gone, stays) = (record(&ours), record(&ours));
        for record in [&gone, &stays, &ProviderRecord { key: foreign.clone(), ..gone.clone() }] {
            store.add_provider(record.clone()).unwrap();
        }
        store.add_provider(ProviderRecord::new(ours.clone(), store.local, Vec::new())).unwrap();
        store.forget(&gone.provider);
        store.forget(&store.local.clone());
        assert_eq!(store.providers(&ours).len(), 2);
        assert!(store.providers(&ours).contains(&stays));
        assert_eq!((store.providers(&foreign).len(), store.foreign), (0, 0));
    }

    #[test]
    fn one_that_is_not_where_others_say_stays_where_it_says_itself() {
        let mut store = store();
        let ours = record_key(&topic("ours"));
        let (here, elsewhere): (Multiaddr, Multiaddr) =
            ("/ip4/10.0.0.1/tcp/1".parse().unwrap(), "/ip4/10.0.0.2/tcp/1".parse().unwrap());
        let record = ProviderRecord { addresses: vec![here.clone()], ..record(&ours) };
        store.add_provider(record.clone()).unwrap();
        store.forget_at(&record.provider, std::slice::from_ref(&elsewhere));
        store.forget_at(&PeerId::random(), std::slice::from_ref(&here));
        store.forget_at(&record.provider, &[]);
        assert_eq!(store.providers(&ours).len(), 1);
        store.forget_at(&record.provider, &[elsewhere, here.with_p2p(record.provider).unwrap()]);
        assert!(store.providers(&ours).is_empty());
    }

    #[test]
    fn keeps_no_value_records() {
        let mut store = store();
        assert!(store.put(Record::new(foreign_key(1), vec![1, 2, 3])).is_err());
        assert!(store.get(&foreign_key(1)).is_none());
    }
}
