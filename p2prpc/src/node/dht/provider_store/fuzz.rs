//! Records of any peers under any keys.

use bolero::TypeGenerator;

use super::*;
use crate::membership::tests::fuzz::{Place, addresses, peer};

#[derive(Clone, Debug, TypeGenerator)]
enum Step {
    Add { key: Key, provider: u8, places: Vec<Place>, seconds: Option<u8> },
    Forget(u8),
    ForgetAt(u8, Vec<Place>),
    RemoveProvider(Key, u8),
    Sweep { seconds: u8 },
}

#[derive(Clone, Debug, TypeGenerator)]
enum Key {
    Own,
    Foreign(u8),
    Any(Vec<u8>),
}

impl Key {
    fn key(&self) -> RecordKey {
        match self {
            Key::Own => crate::membership::record_key(&crate::membership::topic("ours")),
            Key::Foreign(n) => RecordKey::new(&[*n; 34]),
            Key::Any(bytes) => RecordKey::new(bytes),
        }
    }
}

fn is_in_order(store: &ProviderStore) {
    let is_foreign = |key: &&RecordKey| !store.own_keys.contains(*key);
    assert_eq!(store.foreign, store.keys.keys().filter(is_foreign).count());
    assert!(store.foreign <= MAX_FOREIGN_KEYS);
    let foreign = store.keys.iter().filter(|(key, _)| is_foreign(key)).flat_map(|(_, records)| records);
    assert_eq!(store.ledger.bytes, foreign.clone().map(Ledger::cost).sum::<usize>());
    assert_eq!(store.ledger.providers.values().map(|share| share.records).sum::<usize>(), foreign.count());
    for (key, records) in &store.keys {
        assert!(!records.is_empty() || store.own_keys.contains(key), "no key without a record");
        assert!(key.as_ref().len() <= MAX_KEY && records.len() <= MAX_PROVIDERS);
        for record in records {
            assert!(record.addresses.len() <= 8 && record.addresses.iter().all(|it| Scope::of(it).is_some()));
            assert!(record.addresses.iter().map(Multiaddr::len).sum::<usize>() <= MAX_ADDRESS_BYTES);
        }
    }
}

#[test]
fn records_are_counted_and_bounded_whatever_comes() {
    fuzz!().with_type::<Vec<Step>>().for_each(|steps: &Vec<Step>| {
        let mut store = ProviderStore::new(peer(0), ["ours"], Scope::Public, Networks::fixed([]));
        let start = Instant::now();
        let mut now = start;
        for step in steps {
            match step {
                Step::Add { key, provider, places, seconds } => {
                    let expires = seconds.map(|seconds| now + Duration::from_secs(seconds.into()));
                    let (key, provider, addresses) = (key.key(), peer(*provider), addresses(places));
                    let _ = store.add_provider(ProviderRecord { key, provider, expires, addresses });
                }
                Step::Forget(of) => store.forget(&peer(*of)),
                Step::ForgetAt(of, places) => store.forget_at(&peer(*of), &addresses(places)),
                Step::RemoveProvider(key, of) => store.remove_provider(&key.key(), &peer(*of)),
                Step::Sweep { seconds } => {
                    now += Duration::from_secs((*seconds).into());
                    store.sweep(now);
                }
            }
            is_in_order(&store);
        }
        for of in 1..8 {
            store.forget(&peer(of));
        }
        assert_eq!((store.foreign, store.ledger.bytes, store.ledger.providers.len()), (0, 0, 0));
    });
}
