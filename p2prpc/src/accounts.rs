//! What peers have in flight here, each and all together, held to the [`Limits`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use libp2p::PeerId;
use tokio::sync::Notify;

use crate::limits::Limits;
use crate::prefix::Prefix;
use crate::sync::Mutex;

/// A body that is still to come counts so much, for what is kept of its request, beside what has come.
pub(crate) const COMING_OVERHEAD: usize = 1024;

/// What some peers have in flight together.
#[derive(Debug)]
struct Tally {
    calls: AtomicUsize,
    bytes: AtomicUsize,
    replies: AtomicUsize,
    /// Replies that wait for room among `replies`.
    waiting: AtomicUsize,
    max_calls: usize,
    /// For `bytes`, for `replies` and for `waiting`.
    max_bytes: usize,
    /// `replies` is below the limit again.
    room: Notify,
}

impl Tally {
    fn new(max_calls: usize, max_bytes: usize) -> Self {
        let (calls, bytes, replies, waiting) = Default::default();
        Tally { calls, bytes, replies, waiting, max_calls, max_bytes: max_bytes.max(1), room: Notify::new() }
    }

    fn has_reply_room(&self) -> bool {
        self.replies.load(Ordering::Acquire) < self.max_bytes
    }
}

fn take(counter: &AtomicUsize, n: usize, limit: usize) -> bool {
    let before = counter.fetch_add(n, Ordering::Relaxed);
    if before.checked_add(n).is_some_and(|after| after <= limit) {
        return true;
    }
    counter.fetch_sub(n, Ordering::Relaxed);
    false
}

fn give_back(counter: &AtomicUsize, n: usize) {
    counter.fetch_sub(n, Ordering::Relaxed);
}

/// Take from all counters or from none.
fn take_all<'a>(
    tallies: impl Iterator<Item = &'a Tally> + Clone,
    n: usize,
    counter: fn(&Tally) -> (&AtomicUsize, usize),
) -> bool {
    for (taken, tally) in tallies.clone().enumerate() {
        let (count, limit) = counter(tally);
        if !take(count, n, limit) {
            tallies.take(taken).for_each(|tally| give_back(counter(tally).0, n));
            return false;
        }
    }
    true
}

fn calls(tally: &Tally) -> (&AtomicUsize, usize) {
    (&tally.calls, tally.max_calls)
}

/// What all peers have in flight here.
#[derive(Debug)]
pub(crate) struct Accounts {
    limits: Limits,
    total: Arc<Tally>,
    peers: Mutex<HashMap<PeerId, Weak<PeerAccount>>>,
    prefixes: Mutex<HashMap<Prefix, Weak<Tally>>>,
}

impl Accounts {
    pub(crate) fn new(limits: Limits) -> Self {
        let total = Arc::new(Tally::new(limits.max_calls, limits.max_bytes));
        Accounts { limits, total, peers: Mutex::default(), prefixes: Mutex::default() }
    }

    /// The account of a peer: one for all its streams. It lives as long as they do.
    pub(crate) fn open(&self, peer: PeerId, remote: Option<IpAddr>) -> Arc<PeerAccount> {
        let mut peers = self.peers.lock();
        if let Some(account) = peers.get(&peer).and_then(Weak::upgrade) {
            return account;
        }
        let account = Arc::new(PeerAccount {
            own: Tally::new(self.limits.calls_of_a_peer(), self.limits.bytes_of_a_peer()),
            prefix: remote.and_then(Prefix::of).map(|prefix| self.prefix(prefix)),
            total: self.total.clone(),
        });
        forget_dead(&mut peers);
        peers.insert(peer, Arc::downgrade(&account));
        account
    }

    fn prefix(&self, prefix: Prefix) -> Arc<Tally> {
        let mut prefixes = self.prefixes.lock();
        if let Some(tally) = prefixes.get(&prefix).and_then(Weak::upgrade) {
            return tally;
        }
        let tally = Arc::new(Tally::new(self.limits.calls_of_a_prefix(), self.limits.bytes_of_a_prefix()));
        forget_dead(&mut prefixes);
        prefixes.insert(prefix, Arc::downgrade(&tally));
        tally
    }
}

/// Weak entries are dropped when the table would have to grow, so each costs O(1) over time.
fn forget_dead<K: std::hash::Hash + Eq, V>(table: &mut HashMap<K, Weak<V>>) {
    if table.len() == table.capacity() {
        table.retain(|_, value| value.strong_count() > 0);
    }
}

/// What one peer has in flight here.
#[derive(Debug)]
pub(crate) struct PeerAccount {
    own: Tally,
    prefix: Option<Arc<Tally>>,
    total: Arc<Tally>,
}

impl PeerAccount {
    /// All that count what this peer has in flight.
    fn tallies(&self) -> impl DoubleEndedIterator<Item = &Tally> + Clone {
        [Some(&self.own), self.prefix.as_deref(), Some(&*self.total)].into_iter().flatten()
    }

    /// Those that this peer shares with others.
    fn shared(&self) -> impl DoubleEndedIterator<Item = &Tally> + Clone {
        [self.prefix.as_deref(), Some(&*self.total)].into_iter().flatten()
    }

    /// A place for one more call; `None` past a limit.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<CallPermit> {
        take_all(self.tallies(), 1, calls).then(|| CallPermit { account: self.clone(), shared: true })
    }

    /// A place for one more call whose body is still to come: no other peer has one less for it.
    pub(crate) fn admit_coming(self: &Arc<Self>) -> Option<CallPermit> {
        let own = take(&self.own.calls, 1, self.own.max_calls);
        own.then(|| CallPermit { account: self.clone(), shared: false })
    }

    /// One more call, whatever the limits say: it was admitted before.
    pub(crate) fn hold(self: &Arc<Self>) -> CallPermit {
        for tally in self.tallies() {
            tally.calls.fetch_add(1, Ordering::AcqRel);
        }
        CallPermit { account: self.clone(), shared: true }
    }

    /// True while calls of the peer are admitted and not answered.
    pub(crate) fn has_calls(&self) -> bool {
        self.own.calls.load(Ordering::Acquire) > 0
    }

    /// Room for a request body that is there; `None` past a limit.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<BytesPermit> {
        let taken = take_all(self.tallies(), bytes, |tally| (&tally.bytes, tally.max_bytes));
        taken.then(|| BytesPermit { account: self.clone(), announced: bytes, charged: bytes })
    }

    /// Room for a request body of which so much has come; `None` past a limit. All that is announced counts for the peer,
    /// and only what comes for all.
    pub(crate) fn reserve_coming(self: &Arc<Self>, announced: usize, come: usize) -> Option<BytesPermit> {
        let mut permit = BytesPermit { account: self.clone(), announced: 0, charged: 0 };
        (permit.announce(announced) && permit.charge(come + COMING_OVERHEAD)).then_some(permit)
    }

    /// Waits until the replies that wait to be written leave room for one more, of so many bytes. False, at once, if as many
    /// wait for room already as there is room in all.
    pub(crate) async fn reply_room(&self, bytes: usize) -> bool {
        if self.has_reply_room() {
            return true;
        }
        let Some(_waiting) = self.wait_with(bytes) else { return false };
        while let Some(full) = self.full() {
            let room = full.room.notified();
            if !full.has_reply_room() {
                room.await;
            }
        }
        true
    }

    /// True if nobody has to wait for it.
    pub(crate) fn has_reply_room(&self) -> bool {
        self.full().is_none()
    }

    fn full(&self) -> Option<&Tally> {
        self.tallies().find(|tally| !tally.has_reply_room())
    }

    fn wait_with(&self, bytes: usize) -> Option<WaitingReply<'_>> {
        let taken = take_all(self.tallies(), bytes, |tally| (&tally.waiting, tally.max_bytes));
        taken.then(|| WaitingReply { account: self, bytes })
    }

    /// Counts replies until they are written.
    pub(crate) fn replies(self: &Arc<Self>) -> ReplyPermit {
        ReplyPermit { account: self.clone(), bytes: 0 }
    }
}

#[cfg(test)]
impl PeerAccount {
    /// Calls, bytes of requests, and bytes of replies that are in flight or wait for room: the largest of what the peer, its prefix and all have.
    pub(crate) fn in_use(&self) -> (usize, usize, usize) {
        let most = |counter: fn(&Tally) -> &AtomicUsize| {
            self.tallies().map(|tally| counter(tally).load(Ordering::Acquire)).max().unwrap_or_default()
        };
        let replies = most(|tally| &tally.replies) + most(|tally| &tally.waiting);
        (most(|tally| &tally.calls), most(|tally| &tally.bytes), replies)
    }
}

/// A reply that waits for room.
struct WaitingReply<'a> {
    account: &'a PeerAccount,
    bytes: usize,
}

impl Drop for WaitingReply<'_> {
    fn drop(&mut self) {
        self.account.tallies().for_each(|tally| give_back(&tally.waiting, self.bytes));
    }
}

/// The bytes of replies that wait to be written. Dropped when they are, or never will be.
#[derive(Debug)]
pub(crate) struct ReplyPermit {
    account: Arc<PeerAccount>,
    bytes: usize,
}

impl ReplyPermit {
    /// One more waits, of so many bytes.
    pub(crate) fn add(&mut self, bytes: usize) {
        if bytes > 0 {
            self.bytes += bytes;
            self.account.tallies().for_each(|tally| _ = tally.replies.fetch_add(bytes, Ordering::AcqRel));
        }
    }

    /// One more waits, by itself.
    pub(crate) fn apart(&self, bytes: usize) -> ReplyPermit {
        let mut apart = self.account.replies();
        apart.add(bytes);
        apart
    }

    /// Those of another wait with these.
    pub(crate) fn absorb(&mut self, other: &mut ReplyPermit) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// All of them are written.
    pub(crate) fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes == 0 {
            return;
        }
        for tally in self.account.tallies() {
            let before = tally.replies.fetch_sub(bytes, Ordering::AcqRel);
            if before >= tally.max_bytes && tally.has_reply_room() {
                tally.room.notify_waiters();
            }
        }
    }
}

impl Drop for ReplyPermit {
    fn drop(&mut self) {
        self.release();
    }
}

/// One call in flight; dropped when its handler is gone and its reply's bytes are reserved.
#[derive(Debug)]
pub(crate) struct CallPermit {
    account: Arc<PeerAccount>,
    /// It counts for all peers.
    shared: bool,
}

impl CallPermit {
    /// The call is whole, and is to run. False if all peers together have too many.
    pub(crate) fn begin(&mut self) -> bool {
        self.shared = self.shared || take_all(self.account.shared(), 1, calls);
        self.shared
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        give_back(&self.account.own.calls, 1);
        if self.shared {
            self.account.shared().for_each(|tally| give_back(&tally.calls, 1));
        }
    }
}

/// The bytes of one request's body.
#[derive(Debug)]
pub(crate) struct BytesPermit {
    account: Arc<PeerAccount>,
    /// For the peer itself.
    announced: usize,
    /// For all peers.
    charged: usize,
}

impl BytesPermit {
    /// So many more bytes are announced. False past the peer's limit.
    pub(crate) fn announce(&mut self, bytes: usize) -> bool {
        let taken = take(&self.account.own.bytes, bytes, self.account.own.max_bytes);
        self.announced += if taken { bytes } else { 0 };
        taken
    }

    /// So many bytes have come in all. False past a limit of all peers.
    pub(crate) fn came(&mut self, bytes: usize) -> bool {
        // A little ahead, so that the counters that all share are touched a few times a body, and never for more than it is.
        let ahead = (bytes + bytes / 8).min(self.announced.max(bytes));
        bytes <= self.charged || self.charge(ahead - self.charged)
    }

    fn charge(&mut self, bytes: usize) -> bool {
        let taken = take_all(self.account.shared(), bytes, |tally| (&tally.bytes, tally.max_bytes));
        self.charged += if taken { bytes } else { 0 };
        taken
    }
}

impl Drop for BytesPermit {
    fn drop(&mut self) {
        give_back(&self.account.own.bytes, self.announced);
        self.account.shared().for_each(|tally| give_back(&tally.bytes, self.charged));
    }
}

#[cfg(test)]
mod tests;
