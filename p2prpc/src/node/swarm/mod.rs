//! The node's task: it drives the swarm, tells discovery what happens and does what discovery asks for.

mod actions;
mod admitted;
mod connect;
mod dial;
mod events;
mod leave;
mod listen;
mod network;
mod start;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::behaviour::NodeBehaviour;
use super::error::ConnectError;
use super::event::Announcer;
use super::net::address::Kind;
use super::net::interfaces::Interfaces;
use super::net::resolver::Resolver;
use super::net::staggered::Dials;
use super::peer_cache::PeerCache;
use crate::behaviour::Core;
use crate::call::Handle;
use crate::membership::Diagnosis;
use crate::membership::{Discovery, Input, Question};
use crate::networks::Networks;
use crate::service::Layers;

use admitted::Fresh;
use connect::Connecting;

/// Questions to other nodes that are under way at once.
const MAX_ASKING: usize = 256;
/// A caller that makes no call for so long is told to go away. Callers end their own idle streams much sooner.
pub(crate) const IDLE_CALLER: Duration = Duration::from_secs(10 * 60);
/// How often callers are looked through.
const LOOK_FOR_IDLE: Duration = Duration::from_secs(10);

/// What a [`Node`](super::Node) asks of its task.
#[derive(Debug)]
pub(super) enum Command {
    Connect { address: Multiaddr, peer: Option<PeerId>, connected: Connected },
    AddressGiven { peer: PeerId, address: Multiaddr },
    Block { peer: PeerId },
    Unblock { peer: PeerId },
    ServicesChanged,
    Diagnose { answer: oneshot::Sender<Diagnosis> },
    Shutdown { grace: Duration },
}

type Connected = oneshot::Sender<Result<PeerId, ConnectError>>;

pub(super) struct Driver {
    swarm: Swarm<NodeBehaviour>,
    discovery: Discovery,
    announcer: Arc<Announcer>,
    core: Arc<Core>,
    handle: Handle,
    commands: mpsc::UnboundedReceiver<Command>,
    /// True if every address that the node listens on is given as its own.
    listens_openly: bool,
    listeners: Vec<(ListenerId, Kind)>,
    /// Where the node listens.
    own_addresses: Vec<Multiaddr>,
    connecting: Connecting,
    fresh: Fresh,
    /// Where others have connected to us, and how often; `None` is wherever else.
    inbound: BTreeMap<Option<Multiaddr>, usize>,
    dials: Dials,
    networks: Networks,
    resolver: Arc<Resolver>,
    /// Peers that have said that they go.
    leaving: mpsc::Receiver<PeerId>,
    asking: JoinSet<Input>,
    to_ask: VecDeque<Question>,
    farewell: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    interfaces: Interfaces,
    /// Of QUIC connections that are silent.
    asking_ports: JoinSet<Option<(PeerId, ConnectionId)>>,
    /// The local address of each connection, as far as it is known.
    local_ips: HashMap<ConnectionId, (PeerId, IpAddr)>,
    last_tick: Instant,
    /// False while the node starts: where it listens is no change of the network then.
    started: bool,
    peer_cache: Option<PeerCache>,
    next_look_for_idle: Instant,
    /// Asked before other nodes are asked anything.
    private: Layers,
}

impl Driver {
    pub(super) async fn run(mut self) {
        self.started = true;
        let mut ticks = tokio::time::interval(Discovery::TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_asking();
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown { grace }) => return self.leave(grace).await,
                    Some(command) => self.on_command(command),
                    None => return,
                },
                Some(answer) = self.asking.join_next(), if !self.asking.is_empty() => {
                    if let Ok(input) = answer {
                        self.feed(input);
                    }
                }
                Some(peer) = self.leaving.recv() => self.feed(Input::PeerIsLeaving { peer }),
                Some(closed) = self.asking_ports.join_next(), if !self.asking_ports.is_empty() => {
                    if let Ok(Some((peer, connection))) = closed {
                        self.port_is_closed(peer, connection);
                    }
                }
                change = self.interfaces.next() => self.on_change(change),
                _ = ticks.tick() => self.tick(),
            }
        }
    }

    /// Tell discovery, and do what it wants done.
    fn feed(&mut self, input: Input) {
        self.discovery.input(input, Instant::now());
        while let Some(action) = self.discovery.next_action() {
            self.carry_out(action);
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let since = std::mem::replace(&mut self.last_tick, now);
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            if let Some(at) = self.swarm.behaviour().rpc.last_heard(&peer).filter(|at| *at >= since) {
                self.feed(Input::Heard { peer, at });
            }
        }
        if self.next_look_for_idle <= now {
            self.next_look_for_idle = now + LOOK_FOR_IDLE;
            if let Some(since) = now.checked_sub(IDLE_CALLER) {
                self.core.dismiss_idle(since);
            }
        }
        self.admit_what_lasts(now);
        for input in self.swarm.behaviour_mut().kademlia.tick(now) {
            self.feed(input);
        }
        self.dial_told();
        if self.resolver.may_work_again() {
            self.feed(Input::NetworkChanged);
        }
        self.feed(Input::Tick);
        if let Some(cache) = &mut self.peer_cache {
            cache.tick(now, self.discovery.remembered());
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect { address, peer, connected } => self.connect(address, peer, connected),
            Command::AddressGiven { peer, address } => self.address_given(peer, address),
            Command::Block { peer } => {
                self.swarm.behaviour_mut().kademlia.forget(&peer);
                // There may be no connection.
                let _ = self.swarm.disconnect_peer_id(peer);
                self.feed(Input::Blocked { peer });
            }
            Command::Unblock { peer } => self.feed(Input::Unblocked { peer }),
            Command::ServicesChanged => self.feed(Input::ServicesChanged),
            Command::Diagnose { answer } => drop(answer.send(self.diagnose())),
            Command::Shutdown { .. } => {}
        }
    }

    fn diagnose(&self) -> Diagnosis {
        let reached = |at: &Multiaddr| self.inbound.get(&Some(at.clone())).copied().unwrap_or_default();
        Diagnosis {
            own_addresses: self.swarm.external_addresses().map(|at| (at.clone(), reached(at))).collect(),
            inbound: self.inbound.values().sum(),
            ..self.discovery.diagnose()
        }
    }

    fn start_asking(&mut self) {
        while self.asking.len() < MAX_ASKING {
            let Some(question) = self.to_ask.pop_front() else { return };
            if !self.private.allows(&question.call()) {
                self.feed(question.unasked());
                continue;
            }
            let handle = self.handle.clone();
            self.asking.spawn(async move { question.ask(&handle).await });
        }
    }
}
