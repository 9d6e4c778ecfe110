//! Connections that the user asks for, and what is dialled beside a dial that is under way.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};

use super::dial;
use super::{Connected, Driver};
use crate::behaviour::MAX_DIALS_OF_PEER;
use crate::membership::{DialFailure, Input};
use crate::networks::bare;
use crate::node::error::ConnectError;
use crate::peer::NOT_ADMITTED;

/// Addresses that are dialled together.
const MAX_ADDRESSES: usize = 8;
/// A dial that takes longer can be given up for one that was told later.
const CHANCE: Duration = Duration::from_millis(750);

/// Who waits for connections. Those who ask for the same wait for one dial.
#[derive(Debug, Default)]
pub(super) struct Connecting {
    /// Whoever is there.
    anybody: HashMap<ConnectionId, (Multiaddr, Vec<Connected>)>,
    /// This peer.
    peers: HashMap<PeerId, Vec<Waiter>>,
    /// The connections that we made, and where they lead.
    made: HashMap<ConnectionId, (Multiaddr, PeerId)>,
    /// Who waits to see whether the other end lets a connection in.
    settling: HashMap<ConnectionId, Vec<(Multiaddr, Connected)>>,
    /// What was told of peers while there were as many dials of them as there may be.
    told: HashMap<PeerId, Vec<Multiaddr>>,
    /// Of the dials of a peer that have failed while another was under way: where and why.
    failed: HashMap<PeerId, DialFailure>,
}

#[derive(Debug)]
struct Waiter {
    address: Multiaddr,
    /// The dial that was made for it; none while another one tries the address, or there are too many.
    dial: Option<ConnectionId>,
    connected: Connected,
}

impl Connecting {
    pub(super) fn clear(&mut self) {
        *self = Connecting::default();
    }
}

impl Driver {
    pub(super) fn connect(&mut self, address: Multiaddr, peer: Option<PeerId>, connected: Connected) {
        match peer {
            Some(peer) if self.swarm.is_connected(&peer) => match self.fresh_connection(peer) {
                Some(connection) => self.connecting.settling.entry(connection).or_default().push((address, connected)),
                None => drop(connected.send(Ok(peer))),
            },
            Some(peer) => {
                let waiter = Waiter { address, dial: None, connected };
                self.connecting.peers.entry(peer).or_default().push(waiter);
                self.dial_for_waiters(peer);
            }
            None => self.connect_to_anybody(address, connected),
        }
    }

    fn connect_to_anybody(&mut self, address: Multiaddr, connected: Connected) {
        if let Some((connection, (_, peer))) = self.connecting.made.iter().find(|(_, (there, _))| *there == address) {
            if self.fresh.contains(*connection) {
                self.connecting.settling.entry(*connection).or_default().push((address, connected));
            } else {
                let _ = connected.send(Ok(*peer));
            }
            return;
        }
        if let Some((_, waiting)) = self.connecting.anybody.values_mut().find(|(there, _)| *there == address) {
            waiting.push(connected);
            return;
        }
        let opts = DialOpts::unknown_peer_id().address(address.clone()).build();
        let connection = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => {
                self.connecting.anybody.insert(connection, (address, vec![connected]));
            }
            Err(error) => {
                // Whoever asked may have gone.
                let _ = connected.send(Err(dial::connect_error(address, &error)));
            }
        }
    }

    /// Dial the addresses that are waited for and that nobody tries, as far as there is room.
    fn dial_for_waiters(&mut self, peer: PeerId) {
        let Some(mut waiters) = self.connecting.peers.remove(&peer) else { return };
        waiters.retain(|waiter| !waiter.connected.is_closed());
        let mut untried: Vec<Multiaddr> = Vec::new();
        for waiter in waiters.iter().filter(|waiter| waiter.dial.is_none()) {
            let address = &waiter.address;
            if !untried.contains(address) && !self.dials.is_trying(&peer, address) && untried.len() < MAX_ADDRESSES {
                untried.push(address.clone());
            }
        }
        if !untried.is_empty() && self.dials.attempts(&peer) < MAX_DIALS_OF_PEER {
            let opts = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(untried.clone()).build();
            let id = opts.connection_id();
            let outcome = self.swarm.dial(opts);
            for waiter in waiters.iter_mut().filter(|waiter| waiter.dial.is_none() && untried.contains(&waiter.address))
            {
                waiter.dial = Some(id);
            }
            if let Err(error) = outcome {
                for waiter in waiters.extract_if(.., |waiter| waiter.dial == Some(id)) {
                    let _ = waiter.connected.send(Err(dial::connect_error(waiter.address, &error)));
                }
            }
        }
        if !waiters.is_empty() {
            self.connecting.peers.insert(peer, waiters);
        }
    }

    pub(super) fn connection_made(&mut self, peer: PeerId, connection: ConnectionId, dialled: Option<&Multiaddr>) {
        if let Some(address) = dialled {
            self.connecting.made.insert(connection, (bare(address), peer));
        }
        self.connecting.failed.remove(&peer);
        let mut settling = Vec::new();
        if let Some((address, waiting)) = self.connecting.anybody.remove(&connection) {
            settling.extend(waiting.into_iter().map(|connected| (address.clone(), connected)));
        }
        let waiters = self.connecting.peers.remove(&peer).unwrap_or_default();
        settling.extend(waiters.into_iter().map(|waiter| (waiter.address, waiter.connected)));
        if !settling.is_empty() {
            self.connecting.settling.insert(connection, settling);
        }
    }

    pub(super) fn connection_stays(&mut self, peer: PeerId, connection: ConnectionId) {
        for (_, connected) in self.connecting.settling.remove(&connection).unwrap_or_default() {
            let _ = connected.send(Ok(peer));
        }
    }

    /// `refused` if the peer closed it at once, `last` if it was the only one.
    pub(super) fn connection_ended(&mut self, peer: PeerId, connection: ConnectionId, refused: bool, last: bool) {
        self.connecting.made.remove(&connection);
        for (address, connected) in self.connecting.settling.remove(&connection).unwrap_or_default() {
            let _ = connected.send(match (refused, last) {
                (_, false) => Ok(peer),
                (true, true) => Err(ConnectError::Refused { address, reason: NOT_ADMITTED.into() }),
                (false, true) => Err(ConnectError::Unreachable { address, reason: "it was closed again".into() }),
            });
        }
    }

    pub(super) fn dial_ended(&mut self, peer: Option<PeerId>, connection: ConnectionId, error: &DialError) {
        if let Some((address, waiting)) = self.connecting.anybody.remove(&connection) {
            for connected in waiting {
                let _ = connected.send(Err(dial::connect_error(address.clone(), error)));
            }
        }
        let Some(peer) = peer else { return };
        if let Some(waiters) = self.connecting.peers.get_mut(&peer) {
            let tried = |address: &Multiaddr| match error {
                DialError::Transport(errors) => errors.iter().any(|(at, _)| bare(at) == bare(address)),
                _ => false,
            };
            let over = |waiter: &mut Waiter| waiter.dial == Some(connection) || tried(&waiter.address);
            for waiter in waiters.extract_if(.., over) {
                let _ = waiter.connected.send(Err(dial::connect_error(waiter.address, error)));
            }
            self.dial_for_waiters(peer);
        }
        self.tell_of_failure(peer, error);
    }

    /// Discovery hears of it once no dial of the peer is under way any more: then of all.
    fn tell_of_failure(&mut self, peer: PeerId, error: &DialError) {
        let mut failure = dial::failure(error);
        if let Some(before) = self.connecting.failed.remove(&peer) {
            failure.add(before);
        }
        if self.dials.attempts(&peer) > 0 {
            self.connecting.failed.insert(peer, failure);
            return;
        }
        self.feed(Input::DialFailed { peer, failure });
    }

    /// A dial that was given up counts until its future is gone, a moment after the swarm has told of it.
    fn tell_of_late_failures(&mut self) {
        let over = |peer: &PeerId, _: &mut DialFailure| self.dials.attempts(peer) == 0;
        let failed: Vec<_> = self.connecting.failed.extract_if(over).collect();
        for (peer, failure) in failed {
            self.feed(Input::DialFailed { peer, failure });
        }
    }

    /// Dial these at discovery's word. What isn't tried by a dial that is under way doesn't wait for its end.
    pub(super) fn dial(&mut self, peer: PeerId, mut addresses: Vec<Multiaddr>) {
        let mut condition = PeerCondition::NotDialing;
        if self.dials.attempts(&peer) > 0 {
            addresses.retain(|address| !self.dials.is_trying(&peer, address));
            if addresses.is_empty() || self.dials.attempts(&peer) >= MAX_DIALS_OF_PEER {
                return;
            }
            condition = PeerCondition::Always;
        }
        let opts = DialOpts::peer_id(peer).condition(condition).addresses(addresses).build();
        match self.swarm.dial(opts) {
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => self.tell_of_failure(peer, &error),
        }
    }

    /// The user says where a peer is: whoever waits for a dial of it doesn't have to wait for its end.
    pub(super) fn address_given(&mut self, peer: PeerId, address: Multiaddr) {
        if self.swarm.is_connected(&peer) {
            return;
        }
        match self.dials.attempts(&peer) {
            0 => self.swarm.behaviour_mut().rpc.address_told(peer, address),
            attempts if attempts < MAX_DIALS_OF_PEER => self.dial(peer, vec![address]),
            _ => {
                let told = self.connecting.told.entry(peer).or_default();
                told.retain(|known| *known != address);
                told.insert(0, address);
                told.truncate(MAX_ADDRESSES);
            }
        }
    }

    /// Dial what was told when there was no room for it: what has been tried long enough makes room.
    pub(super) fn dial_told(&mut self) {
        self.tell_of_late_failures();
        for (peer, addresses) in std::mem::take(&mut self.connecting.told) {
            let attempts = self.dials.attempts(&peer);
            // With no dial under way nobody waits, and the next one finds what was told.
            if attempts == 0 || self.swarm.is_connected(&peer) {
                continue;
            }
            if attempts < MAX_DIALS_OF_PEER || self.dials.end_oldest(&peer, CHANCE) {
                self.dial(peer, addresses);
            } else {
                self.connecting.told.insert(peer, addresses);
            }
        }
    }
}
