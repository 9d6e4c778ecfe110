//! Dials of one peer: one address after the other, the likeliest first, and an account of what is being tried.
//!
//! The swarm starts all addresses of a dial at once. Here each waits for its turn: it comes a moment after that of the address
//! before it, or as soon as one has failed.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::TryFutureExt;
use futures::future::{BoxFuture, MapErr};
use hashlink::LruCache;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Transport};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::address_book::AddressBook;
use crate::networks::{Networks, bare};

/// The lead that an address has over the next, nearby and over the internet.
const LEAD_NEARBY: Duration = Duration::from_millis(150);
const LEAD: Duration = Duration::from_millis(250);
/// Addresses of one dial that are tried at the same time.
const MAX_AT_ONCE: usize = 8;
/// Addresses of one dial: no more are tried.
const MAX_ADDRESSES: usize = 32;
/// Peers of which it is remembered where they were reached last.
const MAX_REMEMBERED: usize = 4096;

/// The dials under way. Clones share them.
#[derive(Clone, Debug)]
pub(in crate::node) struct Dials(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    networks: Networks,
    address_book: AddressBook,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Whom the swarm is about to dial, and what it has given of that dial so far.
    next_peer: Option<PeerId>,
    next: Weak<Batch>,
    under_way: HashMap<PeerId, Vec<Weak<Batch>>>,
    reached: LruCache<PeerId, (Multiaddr, Instant)>,
}

/// The addresses of one dial.
#[derive(Debug)]
struct Batch {
    peer: Option<PeerId>,
    /// Without the peer's id at their end.
    addresses: Mutex<Vec<Multiaddr>>,
    progress: watch::Sender<Progress>,
    began: tokio::time::Instant,
    shared: Weak<Shared>,
}

#[derive(Debug)]
struct Progress {
    /// Those that have not had their turn, in order.
    waiting: Vec<usize>,
    running: usize,
    /// When the next may begin.
    next_at: tokio::time::Instant,
    /// Another dial has reached the peer, or has taken its place.
    over: bool,
}

/// Why an address of a dial came to nothing.
#[derive(Debug)]
pub(in crate::node) enum DialFailure {
    /// The dial of it failed.
    Failed(io::Error),
    /// No transport of this node dials it.
    Unsupported,
    /// Somebody else is there.
    WrongPeer(PeerId),
    /// There was no answer in time.
    Timeout(Duration),
    /// The peer was reached at another address meanwhile, or another one was told that took its place.
    Needless,
    /// The dial has too many addresses.
    TooMany,
}

impl fmt::Display for DialFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialFailure::Failed(error) => error.fmt(f),
            DialFailure::Unsupported => f.write_str("this node can't dial such an address"),
            DialFailure::WrongPeer(peer) => write!(f, "another peer answered, {peer}"),
            DialFailure::Timeout(time) => write!(f, "no answer within {} s", time.as_secs()),
            DialFailure::Needless => f.write_str("it was left for another address of the peer"),
            DialFailure::TooMany => write!(f, "only {MAX_ADDRESSES} addresses of a dial are tried"),
        }
    }
}

impl Error for DialFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            DialFailure::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl Dials {
    pub(in crate::node) fn new(networks: Networks, address_book: AddressBook) -> Self {
        let state = State {
            next_peer: None,
            next: Weak::new(),
            under_way: HashMap::new(),
            reached: LruCache::new(MAX_REMEMBERED),
        };
        Dials(Arc::new(Shared { networks, address_book, state: Mutex::new(state) }))
    }

    /// The swarm is about to dial: the addresses that come now belong together.
    pub(in crate::node) fn begin(&self, peer: Option<PeerId>) {
        let mut state = self.0.state.lock();
        state.next_peer = peer;
        state.next = Weak::new();
    }

    /// End the dial of the peer that is under way longest, if that is so long: it has had its chance. True if there was one.
    pub(in crate::node) fn end_oldest(&self, peer: &PeerId, age: Duration) -> bool {
        let batches = self.batches(peer);
        let oldest = batches.iter().filter(|batch| batch.began.elapsed() >= age).min_by_key(|batch| batch.began);
        if let Some(oldest) = oldest {
            oldest.progress.send_modify(|progress| progress.over = true);
        }
        oldest.is_some()
    }

    /// Dials of the peer that are under way.
    pub(in crate::node) fn attempts(&self, peer: &PeerId) -> usize {
        self.batches(peer).len()
    }

    /// True if that address of the peer is being dialled.
    pub(in crate::node) fn is_trying(&self, peer: &PeerId, address: &Multiaddr) -> bool {
        let bare = bare(address);
        self.batches(peer).iter().any(|batch| batch.addresses.lock().contains(&bare))
    }

    fn batches(&self, peer: &PeerId) -> Vec<Arc<Batch>> {
        let under_way: Vec<_> = {
            let state = self.0.state.lock();
            state.under_way.get(peer).into_iter().flatten().filter_map(Weak::upgrade).collect()
        };
        under_way.into_iter().filter(|batch| !batch.progress.borrow().over).collect()
    }

    /// The place of one more address in the dial that was begun last.
    fn join(&self, address: &Multiaddr) -> Option<Turn> {
        let batch = self.next();
        let known = batch.peer.map(|peer| self.known(&peer)).unwrap_or_default();
        let mut addresses = batch.addresses.lock();
        if addresses.len() >= MAX_ADDRESSES {
            return None;
        }
        let place = addresses.len();
        addresses.push(bare(address));
        let order = self.order(&known, &addresses);
        drop(addresses);
        batch.progress.send_modify(|progress| progress.waiting = order);
        let progress = batch.progress.subscribe();
        Some(Turn { batch, place, lead: lead(address), progress })
    }

    fn next(&self) -> Arc<Batch> {
        let mut state = self.0.state.lock();
        if let Some(batch) = state.next.upgrade() {
            return batch;
        }
        let peer = state.next_peer;
        let now = tokio::time::Instant::now();
        let progress = Progress { waiting: Vec::new(), running: 0, next_at: now, over: false };
        let batch = Arc::new(Batch {
            peer,
            addresses: Mutex::default(),
            progress: watch::Sender::new(progress),
            began: now,
            shared: Arc::downgrade(&self.0),
        });
        state.next = Arc::downgrade(&batch);
        if let Some(peer) = peer {
            state.under_way.entry(peer).or_default().push(Arc::downgrade(&batch));
        }
        batch
    }

    /// What the user said of the peer, and where it was reached last, without its id, and when that was.
    fn known(&self, peer: &PeerId) -> Vec<(Multiaddr, Instant)> {
        let mut known = self.0.address_book.told(peer);
        known.extend(self.0.state.lock().reached.peek(peer).cloned());
        known.into_iter().map(|(address, at)| (bare(&address), at)).collect()
    }

    /// What is known comes first, the latest before what is older.
    fn order(&self, known: &[(Multiaddr, Instant)], addresses: &[Multiaddr]) -> Vec<usize> {
        let since = |address: &Multiaddr| known.iter().filter(|(it, _)| it == address).map(|(_, at)| *at).max();
        let likely = self.0.networks.ordered(addresses.to_vec(), None);
        let mut order: Vec<usize> = (0..addresses.len()).collect();
        order.sort_by_key(|place| {
            let address = addresses.get(*place);
            (Reverse(address.and_then(since)), likely.iter().position(|it| Some(it) == address))
        });
        order
    }

    /// The peer was reached there: other dials of it begin with nothing more.
    fn reached(&self, batch: &Batch, peer: PeerId, address: &Multiaddr) {
        self.0.state.lock().reached.insert(peer, (bare(address), Instant::now()));
        for other in self.batches(&peer) {
            if !std::ptr::eq(&*other, batch) {
                other.progress.send_modify(|progress| progress.over = true);
            }
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let (Some(peer), Some(shared)) = (self.peer, self.shared.upgrade()) else { return };
        let mut state = shared.state.lock();
        if let Some(batches) = state.under_way.get_mut(&peer) {
            batches.retain(|batch| batch.strong_count() > 0);
            if batches.is_empty() {
                state.under_way.remove(&peer);
            }
        }
    }
}

/// The place of an address in its dial.
#[derive(Debug)]
struct Turn {
    batch: Arc<Batch>,
    place: usize,
    lead: Duration,
    progress: watch::Receiver<Progress>,
}

impl Turn {
    /// Ends when it is this address's turn, which lasts as long as what is given.
    async fn comes(mut self) -> Result<Running, DialFailure> {
        loop {
            let next_at = {
                let progress = self.progress.borrow_and_update();
                if progress.over {
                    return Err(DialFailure::Needless);
                }
                let is_next = progress.waiting.first() == Some(&self.place) && progress.running < MAX_AT_ONCE;
                is_next.then_some(progress.next_at)
            };
            let now = tokio::time::Instant::now();
            match next_at {
                Some(at) if at <= now => {
                    self.batch.progress.send_modify(|progress| {
                        progress.waiting.retain(|place| *place != self.place);
                        progress.running += 1;
                        progress.next_at = now + self.lead;
                    });
                    return Ok(Running { turn: self });
                }
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, self.progress.changed()).await;
                }
                None => {
                    let _ = self.progress.changed().await;
                }
            }
        }
    }
}

/// An address that is being dialled. When it ends, the next may begin at once.
#[derive(Debug)]
struct Running {
    turn: Turn,
}

impl Running {
    async fn ends_early(&mut self) {
        // Its own sender lives as long as the turn.
        let _ = self.turn.progress.wait_for(|progress| progress.over).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.turn.batch.progress.send_modify(|progress| {
            progress.running = progress.running.saturating_sub(1);
            progress.next_at = tokio::time::Instant::now();
        });
    }
}

fn lead(address: &Multiaddr) -> Duration {
    use crate::membership::Scope;
    match Scope::of(address) {
        Some(Scope::Private | Scope::Loopback) => LEAD_NEARBY,
        _ => LEAD,
    }
}

fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

type Upgrade = <Boxed<(PeerId, StreamMuxerBox)> as Transport>::ListenerUpgrade;

/// A transport whose dials wait for their turn, and then have so much time.
pub(in crate::node) struct Staggered {
    inner: Boxed<(PeerId, StreamMuxerBox)>,
    dials: Dials,
    within: Duration,
}

impl Staggered {
    pub(in crate::node) fn new(inner: Boxed<(PeerId, StreamMuxerBox)>, dials: Dials, within: Duration) -> Self {
        Staggered { inner, dials, within }
    }
}

impl Transport for Staggered {
    type Output = (PeerId, StreamMuxerBox);
    type Error = DialFailure;
    type ListenerUpgrade = MapErr<Upgrade, fn(io::Error) -> DialFailure>;
    type Dial = BoxFuture<'static, Result<Self::Output, DialFailure>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<DialFailure>> {
        self.inner.listen_on(id, address).map_err(|error| error.map(DialFailure::Failed))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<DialFailure>> {
        let turn = self.dials.join(&address).ok_or(TransportError::Other(DialFailure::TooMany))?;
        let dial = self.inner.dial(address.clone(), options);
        let (dials, within) = (self.dials.clone(), self.within);
        Ok(Box::pin(async move {
            let mut running = turn.comes().await?;
            let dial = dial.map_err(|error| match error {
                TransportError::MultiaddrNotSupported(_) => DialFailure::Unsupported,
                TransportError::Other(error) => DialFailure::Failed(error),
            })?;
            let (peer, muxer) = tokio::select! {
                dialled = tokio::time::timeout(within, dial) => match dialled {
                    Ok(dialled) => dialled.map_err(DialFailure::Failed)?,
                    Err(_) => return Err(DialFailure::Timeout(within)),
                },
                () = running.ends_early() => return Err(DialFailure::Needless),
            };
            // The other addresses of the dial can still be right.
            match peer_of(&address) {
                Some(expected) if expected != peer => return Err(DialFailure::WrongPeer(peer)),
                Some(_) => dials.reached(&running.turn.batch, peer, &address),
                None => {}
            }
            Ok((peer, muxer))
        }))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, DialFailure>> {
        Pin::new(&mut self.inner).poll(cx).map(|event| {
            event.map_upgrade(|upgrade| upgrade.map_err(DialFailure::Failed as fn(_) -> _)).map_err(DialFailure::Failed)
        })
    }
}

#[cfg(test)]
mod tests;
