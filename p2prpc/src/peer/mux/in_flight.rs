//! Calls under way by their ids, which rise one by one.

use std::collections::VecDeque;

use hashbrown::HashMap;

/// So few places need not be given back.
const SMALL: usize = 64;

/// Those made lately stand side by side in their order: most calls end in about the order in which they began. The few that
/// last are put elsewhere, so that the calls after them don't pile up behind them.
#[derive(Debug)]
pub(crate) struct Calls<T> {
    /// The id of the first of `recent`.
    first: u64,
    recent: VecDeque<Option<T>>,
    lasting: HashMap<u64, T>,
    len: usize,
}

impl<T> Calls<T> {
    /// The first id will be 1.
    pub(crate) fn new() -> Self {
        Calls { first: 1, recent: VecDeque::new(), lasting: HashMap::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The last id that was given.
    pub(crate) fn last_id(&self) -> u64 {
        self.next_id().saturating_sub(1)
    }

    /// The id that the next call will have.
    pub(crate) fn next_id(&self) -> u64 {
        self.first.saturating_add(self.recent.len() as u64)
    }

    /// Add a call under the next id.
    pub(crate) fn push(&mut self, call: T) {
        if self.recent.len() >= self.len.saturating_mul(2).saturating_add(SMALL) {
            self.part();
        }
        self.recent.push_back(Some(call));
        self.len = self.len.saturating_add(1);
    }

    /// Half of `recent` at least is over: whoever isn't has lasted.
    fn part(&mut self) {
        for (id, call) in (self.first..).zip(self.recent.drain(..)) {
            self.lasting.extend(call.map(|call| (id, call)));
            self.first = id.saturating_add(1);
        }
    }

    fn place(&self, id: u64) -> Option<usize> {
        usize::try_from(id.checked_sub(self.first)?).ok()
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        match self.place(id) {
            Some(at) => matches!(self.recent.get(at), Some(Some(_))),
            None => self.lasting.contains_key(&id),
        }
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<T> {
        let call = match self.place(id) {
            Some(at) => self.recent.get_mut(at)?.take(),
            None => self.lasting.remove(&id),
        }?;
        self.len = self.len.saturating_sub(1);
        while let Some(None) = self.recent.front() {
            self.recent.pop_front();
            self.first = self.first.saturating_add(1);
        }
        Some(call)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let recent = (self.first..).zip(&self.recent).filter_map(|(id, call)| Some((id, call.as_ref()?)));
        self.lasting.iter().map(|(id, call)| (*id, call)).chain(recent)
    }

    /// Give back what only a busy stream needs.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() && self.recent.capacity() > SMALL {
            self.recent = VecDeque::new();
        }
        if self.lasting.is_empty() && self.lasting.capacity() > 0 {
            self.lasting = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_end_in_any_order_and_each_is_found_until_then() {
        let mut calls = Calls::new();
        for id in 1..=1_000u64 {
            calls.push(id);
            assert_eq!(calls.last_id(), id);
        }
        let mut ids: Vec<u64> = (1..=1_000).map(|n| (n * 7) % 1_009).filter(|id| (1..=1_000).contains(id)).collect();
        ids.sort_unstable_by_key(|id| id * 31 % 1_009);
        for id in &ids {
            assert!(calls.contains(*id));
            assert_eq!(calls.remove(*id), Some(*id));
            assert!(!calls.contains(*id) && calls.remove(*id).is_none());
        }
        assert_eq!(calls.len(), 1_000 - ids.len());
        assert!(!calls.contains(0) && !calls.contains(1_001) && !calls.contains(u64::MAX));
        let left: Vec<_> = calls.iter().map(|(id, _)| id).collect();
        assert_eq!(left.len(), calls.len());
    }

    #[test]
    fn one_that_lasts_holds_no_place_for_those_after_it() {
        let mut calls = Calls::new();
        calls.push(1);
        for id in 2..=100_000u64 {
            calls.push(id);
            assert_eq!(calls.remove(id), Some(id));
            assert_eq!(calls.last_id(), id);
            assert!(calls.recent.len() <= 2 * SMALL, "{}", calls.recent.len());
        }
        assert_eq!(calls.iter().collect::<Vec<_>>(), [(1, &1)]);
        assert_eq!(calls.remove(1), Some(1));
        calls.shrink();
        calls.push(100_001);
        assert_eq!((calls.last_id(), calls.remove(100_001)), (100_001, Some(100_001)));
    }
}
