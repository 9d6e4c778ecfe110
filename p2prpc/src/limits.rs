//! How much one peer may have under way, and all of them together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use libp2p::PeerId;
#[cfg(feature = "node")]
use libp2p::{Multiaddr, multiaddr::Protocol};
use tokio::sync::Notify;

use crate::sync::Mutex;

/// The limits of a node. Each has a default; each is kept over all connections of a peer.
///
/// A limit that is raised past its default raises those that would hold before it does: `max_message` raises
/// `max_bytes_per_peer` to itself and `max_bytes` to four times itself, `max_calls_per_peer` raises `max_calls` to 16 times
/// itself, unless that was lowered. One that isn't holds as far as these others let it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Limits {
    /// The largest body of one request or one reply, in bytes. Default 4 MiB. A larger one fails as
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge); a peer's own limit holds too.
    pub max_message: usize,
    /// Calls of one peer that may be in flight here, and of ours at one peer. Default 1,024. Past it a call fails as
    /// [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded) at once, never run.
    pub max_calls_per_peer: usize,
    /// Bytes of bodies in flight from one peer, and to one peer. Default 64 MiB. Past it senders wait, within their deadline. As many
    /// bytes of replies again may wait here for room; past that a call ends as `Overloaded`, although its handler has answered.
    /// A peer has no more than 1/16 of [`max_bytes`](Limits::max_bytes), or one body of
    /// [`max_message`](Limits::max_message) if that is more, whatever stands here.
    pub max_bytes_per_peer: usize,
    /// Calls of all peers that may be in flight here. Default 16,384. Past it, or past 1/16 of it (256 at least) for one
    /// peer, or 1/4 of it for one public IP prefix (v4 /24, v6 /56), a call fails as `Overloaded`, never run. A call whose
    /// body is still coming counts for its peer, and for all peers once it is whole.
    pub max_calls: usize,
    /// Bytes of bodies in flight from all peers, and to all peers: requests that come and that go, and replies that come and
    /// that go, are counted apart. A body that comes is counted as it comes, not as it is announced. Default 1 GiB. One
    /// public IP prefix has at most 1/4 of what comes and goes as a server. Past it a
    /// request fails as `Overloaded`, never run, and a reply to us as `Overloaded`, answered; our own senders wait. The last
    /// reply before the limit may go past it.
    pub max_bytes: usize,
    /// The longest a handler may run, whatever deadline its caller sent or didn't. Default 1 h. Past it: `DeadlineExceeded`.
    #[cfg_attr(feature = "serde", serde(with = "crate::durations"))]
    pub max_deadline: Duration,
}

/// One peer has at most such a part of all calls.
const SHARE_OF_A_PEER: usize = 16;
/// One public IP prefix has at most such a part of all calls and bytes.
const SHARE_OF_A_PREFIX: usize = 4;
/// How the limit on one body is named where one is larger.
pub(crate) const MESSAGE_LIMIT: &str = "Limits::max_message, or Limits::max_bytes_per_peer if that is less";

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_message: 4 << 20,
            max_calls_per_peer: 1024,
            max_bytes_per_peer: 64 << 20,
            max_calls: 16_384,
            max_bytes: 1 << 30,
            max_deadline: Duration::from_secs(3600),
        }
    }
}

impl Limits {
    /// These limits, with no limit that was raised and that another would keep from holding.
    pub(crate) fn settled(mut self) -> Self {
        let defaults = Limits::default();
        if self.max_message > defaults.max_message {
            self.max_bytes_per_peer = self.max_bytes_per_peer.max(self.max_message);
            self.max_bytes = self.max_bytes.max(self.max_message.saturating_mul(SHARE_OF_A_PREFIX));
        }
        if self.max_bytes_per_peer > defaults.max_bytes_per_peer {
            self.max_bytes = self.max_bytes.max(self.max_bytes_per_peer);
        }
        if self.max_calls_per_peer > defaults.max_calls_per_peer && self.max_calls >= defaults.max_calls {
            self.max_calls = self.max_calls.max(self.max_calls_per_peer.saturating_mul(SHARE_OF_A_PEER));
        }
        self.max_message = self.max_message.min(self.max_bytes_per_peer).min(self.max_bytes);
        self
    }

    /// The calls that one peer may have in flight, by its own limit and by its share of all.
    pub(crate) fn calls_of_a_peer(&self) -> usize {
        self.max_calls_per_peer.min((self.max_calls / SHARE_OF_A_PEER).max(256)).max(1)
    }

    /// The bytes that one peer may have in flight, by its own limit and by its share of all. The largest body fits always.
    pub(crate) fn bytes_of_a_peer(&self) -> usize {
        self.max_bytes_per_peer.min((self.max_bytes / 16).max(self.max_message))
    }
}

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
        let tally = Arc::new(Tally::new(
            (self.limits.max_calls / SHARE_OF_A_PREFIX).max(256),
            self.limits.max_bytes / SHARE_OF_A_PREFIX,
        ));
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

    /// A reply of so many bytes waits to be written.
    pub(crate) fn reply_queued(&self, bytes: usize) {
        for tally in self.tallies() {
            tally.replies.fetch_add(bytes, Ordering::AcqRel);
        }
    }

    /// So many bytes of replies were written, or never will be.
    pub(crate) fn reply_gone(&self, bytes: usize) {
        for tally in self.tallies() {
            let before = tally.replies.fetch_sub(bytes, Ordering::AcqRel);
            if before >= tally.max_bytes && tally.has_reply_room() {
                tally.room.notify_waiters();
            }
        }
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

/// A public IP prefix: v4 /24, v6 /56. Loopback and private addresses have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Prefix {
    V4([u8; 3]),
    V6([u8; 7]),
}

impl Prefix {
    /// That of the host which an address names by its IP.
    #[cfg(feature = "node")]
    pub(crate) fn of_address(address: &Multiaddr) -> Option<Self> {
        match address.iter().next()? {
            Protocol::Ip4(ip) => Self::of(ip.into()),
            Protocol::Ip6(ip) => Self::of(ip.into()),
            _ => None,
        }
    }

    pub(crate) fn of(ip: IpAddr) -> Option<Self> {
        match ip.to_canonical() {
            IpAddr::V4(ip) if ip.is_loopback() || ip.is_private() || ip.is_link_local() => None,
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Some(Prefix::V4([a, b, c]))
            }
            IpAddr::V6(ip) if ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() => None,
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, ..] = ip.octets();
                Some(Prefix::V6([a, b, c, d, e, f, g]))
            }
        }
    }
}

#[cfg(test)]
mod tests;
