//! What discovery wants done.

use super::Driver;
use crate::membership::{Action, Input, say_leaving};

impl Driver {
    pub(super) fn carry_out(&mut self, action: Action) {
        let behaviour = self.swarm.behaviour_mut();
        match action {
            Action::Dial { peer, addresses } => self.dial(peer, addresses),
            Action::Close { peer } => {
                // It may be gone already.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            Action::Pin { peer, pinned } => behaviour.rpc.set_pinned(peer, pinned),
            Action::Ask(question) => self.to_ask.push_back(question),
            Action::SayLeaving { peers } => {
                let handle = self.handle.clone();
                self.farewell = Some(Box::pin(async move { say_leaving(&handle, peers).await }));
            }
            Action::GetProviders { key } => behaviour.kademlia.find_providers(key),
            Action::Provide { key } => {
                if !behaviour.kademlia.provide(key.clone()) {
                    self.feed(Input::Provided { key, ok: false });
                }
            }
            Action::StopProviding { key } => behaviour.kademlia.stop_providing(&key),
            Action::SetKadAddresses { peer, addresses } => behaviour.kademlia.set_addresses(&peer, &addresses),
            Action::Forget { peer } => behaviour.kademlia.forget(&peer),
            Action::ForgetAt { peer, addresses } => behaviour.kademlia.forget_at(&peer, &addresses),
            Action::FindPeer { peer } => behaviour.kademlia.find_peer(peer),
            Action::AddressesFound { peer, addresses } => behaviour.rpc.addresses_found(peer, addresses),
            Action::Joined { peer, member } => {
                self.core.set_member(peer, member);
                self.announcer.joined(peer);
            }
            Action::Changed { peer, member } => {
                self.core.set_member(peer, member);
            }
            Action::Left { peer } => {
                self.core.remove_member(&peer);
                self.announcer.left(peer);
            }
            Action::BootstrapConnected { peer, address } => {
                tracing::info!(%peer, %address, "connected to a bootstrap peer");
                self.announcer.bootstrap_connected(peer);
            }
            Action::BootstrapFailed { peer, address, error } => {
                tracing::info!(%peer, %address, error, "a bootstrap peer can't be reached; it is tried again");
                self.announcer.bootstrap_failed(peer, address, error);
            }
            Action::Stranger { peer, relation } => {
                tracing::debug!(%peer, ?relation, "a connected peer is none of ours");
                self.announcer.stranger(peer, relation);
            }
            Action::Warn(warning) => tracing::warn!("{warning}"),
        }
    }
}
