//! The end of a node, in bounded time.

use std::future::pending;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::PeerId;

use super::Driver;
use crate::membership::Input;
use crate::node::net::address::Kind;

/// How long members may take to hear that we go.
const GOODBYE_WITHIN: Duration = Duration::from_millis(500);
/// How long peers are heard out after they were told to make no more calls: what they had sent by then is answered, never run.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long connections may take to close.
const CLOSE_WITHIN: Duration = Duration::from_millis(300);
/// How long the end waits for the peers that are known to be written, since the rest of it is over. It goes on by itself.
const WRITTEN_WITHIN: Duration = Duration::from_millis(100);
/// How often it is looked whether calls are still under way.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Longer than this nobody waits.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 3600);

impl Driver {
    pub(super) async fn leave(mut self, grace: Duration) {
        let now = Instant::now();
        let end = now + grace.min(LONGEST_GRACE);
        self.commands.close();
        self.connecting.clear();
        self.to_ask.clear();
        self.asking.abort_all();
        // A QUIC listener that is removed takes its connections with it: these stay until the end.
        for (listener, kind) in std::mem::take(&mut self.listeners) {
            if kind != Kind::Quic {
                self.swarm.remove_listener(listener);
            }
        }
        if let Some(cache) = &mut self.peer_cache {
            cache.write(self.discovery.remembered());
        }
        self.swarm.behaviour_mut().connection_limits.leave();
        self.feed(Input::ShuttingDown);
        self.drive(now + GOODBYE_WITHIN, |driver| driver.farewell.is_none()).await;
        self.swarm.behaviour_mut().rpc.go_away();
        self.drive(end, |driver| driver.swarm.behaviour().rpc.calls_in_flight() == 0).await;
        self.drive(end, |driver| !driver.core.awaits_callers()).await;
        self.drive(Instant::now() + LAST_WORDS, Self::is_alone).await;
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        self.drive(Instant::now() + CLOSE_WITHIN, Self::is_alone).await;
        if let Some(cache) = &mut self.peer_cache {
            // Of a slow disk nobody waits.
            let _ = tokio::time::timeout(WRITTEN_WITHIN, cache.finished()).await;
        }
    }

    fn is_alone(&mut self) -> bool {
        self.swarm.connected_peers().next().is_none()
    }

    /// Keep the swarm going until then, or until it is done.
    async fn drive(&mut self, until: Instant, mut done: impl FnMut(&mut Self) -> bool) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while !done(self) && Instant::now() < until {
            let farewell = async {
                match &mut self.farewell {
                    Some(farewell) => farewell.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                () = farewell => self.farewell = None,
                _ = looks.tick() => {}
            }
        }
    }
}
