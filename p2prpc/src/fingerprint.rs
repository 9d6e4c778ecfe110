//! Which methods a peer has declared otherwise than we have.

use std::sync::Arc;

use parking_lot::Mutex;

/// What a method is called and what it looks like, as numbers: they are of one size, whatever a peer says.
pub(crate) type Fingerprint = (u64, u64);

/// [FNV-1a](https://www.rfc-editor.org/rfc/rfc9923) of 64 bits: over `Service.Method`, and over how a method is declared.
pub const fn fnv1a(text: &str) -> u64 {
    let (bytes, mut hash, mut at) = (text.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// The methods of a peer, as it says.
#[derive(Debug)]
pub(crate) struct PeerMethods {
    /// In order, each method once.
    told: Arc<[Fingerprint]>,
    /// Those that were found to differ.
    found: Mutex<Vec<u64>>,
}

impl PeerMethods {
    pub(crate) fn new(told: Arc<[Fingerprint]>) -> Self {
        PeerMethods { told, found: Mutex::default() }
    }

    pub(crate) fn told(&self) -> &Arc<[Fingerprint]> {
        &self.told
    }

    /// How the peer's method differs from ours, if it does.
    pub(crate) fn difference(&self, method: impl Into<Fingerprint>) -> Option<Difference> {
        let (key, ours) = method.into();
        let at = self.told.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        let (_, theirs) = self.told.get(at)?;
        // A method that has none isn't judged.
        if *theirs == ours || *theirs == 0 || ours == 0 {
            return None;
        }
        let mut found = self.found.lock();
        let is_news = !found.contains(&key);
        if is_news {
            found.push(key);
        }
        Some(Difference { is_news })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// It hasn't been found before.
    pub(crate) is_news: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_specification() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_difference_is_news_once_and_what_has_no_fingerprint_is_not_judged() {
        let methods = PeerMethods::new([(1, 10), (2, 0), (3, 30)].into());
        assert_eq!(methods.difference((1, 10)), None);
        assert_eq!(methods.difference((2, 20)), None);
        assert_eq!(methods.difference((3, 0)), None);
        assert_eq!(methods.difference((4, 40)), None);
        assert_eq!(methods.difference((3, 31)), Some(Difference { is_news: true }));
        assert_eq!(methods.difference((3, 31)), Some(Difference { is_news: false }));
    }
}
