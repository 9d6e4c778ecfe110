//! Inbound connections whose handshake is under way: no more than a few, and who comes makes the oldest go.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::prefix::Prefix;
use futures::future::{AbortHandle, Abortable};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, PeerId, Transport};
use parking_lot::Mutex;

/// Inbound connections whose handshake is under way.
pub(in crate::node) const MAX_SETTING_UP: usize = 128;
/// One more makes the oldest of a prefix go that has more than these, or else the oldest of all.
pub(in crate::node) const MAX_SETTING_UP_A_PREFIX: usize = MAX_SETTING_UP / 4;

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// A transport that ends the oldest inbound handshake when there are too many. A swarm can only refuse the newest, and then
/// those who say nothing keep out those who would.
pub(in crate::node) struct Handshakes {
    inner: Connections,
    under_way: Arc<Mutex<UnderWay>>,
}

#[derive(Debug, Default)]
struct UnderWay {
    last: u64,
    /// The oldest first.
    table: BTreeMap<u64, Handshake>,
}

#[derive(Debug)]
struct Handshake {
    prefix: Option<Prefix>,
    abort: AbortHandle,
}

impl UnderWay {
    fn begin(&mut self, prefix: Option<Prefix>, abort: AbortHandle) -> u64 {
        while self.table.len() >= MAX_SETTING_UP {
            let greedy = self.greedy();
            let of_greedy = |handshake: &Handshake| greedy.is_none() || handshake.prefix == greedy;
            let oldest = self.table.iter().find(|(_, handshake)| of_greedy(handshake)).map(|(id, _)| *id);
            let Some(handshake) = oldest.and_then(|id| self.table.remove(&id)) else { break };
            handshake.abort.abort();
        }
        self.last += 1;
        self.table.insert(self.last, Handshake { prefix, abort });
        self.last
    }

    /// The public prefix that has most, if that is more than its share.
    fn greedy(&self) -> Option<Prefix> {
        let mut counts: HashMap<Prefix, usize> = HashMap::new();
        for prefix in self.table.values().filter_map(|handshake| handshake.prefix) {
            *counts.entry(prefix).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.filter(|(_, count)| *count > MAX_SETTING_UP_A_PREFIX).map(|(prefix, _)| prefix)
    }
}

impl Handshakes {
    pub(in crate::node) fn new(inner: Connections) -> Self {
        Handshakes { inner, under_way: Arc::default() }
    }

    fn begin(&self, upgrade: <Connections as Transport>::ListenerUpgrade, remote: &Multiaddr) -> Upgrade {
        let (abort, registration) = AbortHandle::new_pair();
        let id = self.under_way.lock().begin(Prefix::of_address(remote), abort);
        Upgrade { inner: Abortable::new(upgrade, registration), id, under_way: self.under_way.clone() }
    }
}

impl Transport for Handshakes {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = Upgrade;
    type Dial = <Connections as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        self.inner.dial(address, options)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Upgrade, io::Error>> {
        let event = ready!(Pin::new(&mut self.inner).poll(cx));
        let remote = match &event {
            TransportEvent::Incoming { send_back_addr, .. } => send_back_addr.clone(),
            _ => Multiaddr::empty(),
        };
        Poll::Ready(event.map_upgrade(|upgrade| self.begin(upgrade, &remote)))
    }
}

/// A handshake under way. It ends in time, or when it has to make room.
pub(in crate::node) struct Upgrade {
    inner: Abortable<<Connections as Transport>::ListenerUpgrade>,
    id: u64,
    under_way: Arc<Mutex<UnderWay>>,
}

impl Future for Upgrade {
    type Output = io::Result<(PeerId, StreamMuxerBox)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(Pin::new(&mut self.inner).poll(cx));
        Poll::Ready(ended.unwrap_or_else(|_| Err(io::Error::other("the handshake was slow and made room for another"))))
    }
}

impl Drop for Upgrade {
    fn drop(&mut self) {
        self.under_way.lock().table.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(under_way: &mut UnderWay, remote: &str) -> (u64, AbortHandle) {
        let (abort, _) = AbortHandle::new_pair();
        let prefix = Prefix::of_address(&remote.parse().unwrap());
        (under_way.begin(prefix, abort.clone()), abort)
    }

    #[test]
    fn the_oldest_makes_room_for_the_next() {
        let mut under_way = UnderWay::default();
        let all: Vec<_> = (0..200).map(|_| begin(&mut under_way, "/ip4/127.0.0.1/tcp/1").1).collect();
        assert_eq!(under_way.table.len(), MAX_SETTING_UP);
        let ended: Vec<bool> = all.iter().map(AbortHandle::is_aborted).collect();
        assert!(ended[..72].iter().all(|ended| *ended) && ended[72..].iter().all(|ended| !ended));
    }

    #[test]
    fn a_prefix_past_its_share_makes_room_for_others_and_for_its_own() {
        let mut under_way = UnderWay::default();
        let (_, honest) = begin(&mut under_way, "/ip4/192.0.2.1/tcp/1");
        // A hundred that come from one address at once are all let in, while there is room.
        let greedy: Vec<_> = (0..1000).map(|_| begin(&mut under_way, "/ip4/203.0.113.7/tcp/1").1).collect();
        let late: Vec<_> = (0..80).map(|n| begin(&mut under_way, &format!("/ip4/198.51.{n}.1/tcp/1")).1).collect();
        assert!(!honest.is_aborted() && !late.iter().any(AbortHandle::is_aborted));
        assert_eq!(greedy.iter().filter(|handshake| !handshake.is_aborted()).count(), MAX_SETTING_UP - 81);
    }
}
