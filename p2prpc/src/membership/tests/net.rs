//! A network of discoveries without I/O, with a clock that is turned by hand.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId, StreamProtocol};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::error::{ErrorKind, RpcError};
use crate::members::Member;
use crate::membership::address_filter::Scope;
use crate::membership::machine::Discovery;
use crate::membership::protocol::{Question, What};
use crate::membership::{Action, DialFailure, DiscoveryConfig, Input};
use crate::networks::{Networks, ip_of};
use crate::service::Service;

const KAD: StreamProtocol = StreamProtocol::new("/ipfs/kad/1.0.0");
const HANDSHAKE: Duration = Duration::from_millis(30);
const ANSWER: Duration = Duration::from_millis(5);
const REFUSAL: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_secs(5);

pub(super) fn address(port: usize) -> Multiaddr {
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}

#[derive(Clone)]
pub(super) struct Setup {
    pub(super) rendezvous: Vec<&'static str>,
    pub(super) bootstrap: Vec<usize>,
    pub(super) max_connected: usize,
    pub(super) serves: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Setup { rendezvous: vec!["ours"], bootstrap: vec![0], max_connected: 512, serves: true }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    /// It is there and does nothing.
    Stopped,
    Gone,
}

pub(super) struct Sim {
    pub(super) peer: PeerId,
    pub(super) discovery: Discovery,
    pub(super) state: State,
    pub(super) members: BTreeMap<PeerId, Member>,
    pub(super) pins: BTreeSet<PeerId>,
    pub(super) dialled: Vec<(Instant, PeerId)>,
    pub(super) left: Vec<(Instant, PeerId)>,
    pub(super) other: Vec<Action>,
    missed: Vec<Input>,
}

pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Sim>,
    /// Who doesn't let whom in.
    pub(super) blocked: BTreeSet<(usize, usize)>,
    /// Whose cable is out. Its dials fail at once, and others' dials of it after a while.
    pub(super) cut: BTreeSet<usize>,
    /// How often nodes look around: days go faster with a slow one.
    pub(super) tick: Duration,
    connections: BTreeMap<(usize, usize), usize>,
    /// Who still believes to be connected to whom.
    half_open: BTreeSet<(usize, usize)>,
    queue: BinaryHeap<Happens>,
    events: u64,
    seed: u64,
    start: Instant,
    /// What the nodes have done, and when since the start.
    pub(super) trace: Vec<(Duration, usize, String)>,
}

struct Happens {
    at: std::cmp::Reverse<(Instant, u64)>,
    node: usize,
    what: Event,
}

enum Event {
    Input(Input),
    Dialled { target: usize },
    Refused { target: usize },
    Ping,
}

impl PartialEq for Happens {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Happens {}

impl PartialOrd for Happens {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Happens {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl Net {
    pub(super) fn new() -> Self {
        Net::seeded(0)
    }

    /// The same seed, and the same done to it, gives the same trace.
    pub(super) fn seeded(seed: u64) -> Self {
        let start = Instant::now() + Duration::from_secs(1000);
        Net {
            now: start,
            nodes: Vec::new(),
            blocked: BTreeSet::new(),
            cut: BTreeSet::new(),
            tick: Discovery::TICK,
            connections: BTreeMap::new(),
            half_open: BTreeSet::new(),
            queue: BinaryHeap::new(),
            events: 0,
            seed,
            start,
            trace: Vec::new(),
        }
    }

    /// Start a node; its number is its port.
    pub(super) fn start(&mut self, setup: Setup) -> usize {
        let number = self.nodes.len();
        let peer = peer_of(self.seed, number);
        let discovery = self.discovery(number, peer, &setup);
        self.nodes.push(Sim {
            peer,
            discovery,
            state: State::Running,
            members: BTreeMap::new(),
            pins: BTreeSet::new(),
            dialled: Vec::new(),
            left: Vec::new(),
            other: Vec::new(),
            missed: Vec::new(),
        });
        self.begin(number);
        number
    }

    fn discovery(&self, number: usize, local: PeerId, setup: &Setup) -> Discovery {
        let bootstrap = setup.bootstrap.iter().filter(|peer| **peer != number);
        let config = DiscoveryConfig {
            local,
            rendezvous: setup.rendezvous.iter().map(|name| Arc::from(*name)).collect(),
            remembered: Vec::new(),
            bootstrap: bootstrap.map(|number| (self.nodes[*number].peer, address(*number + 1))).collect(),
            serves: setup.serves,
            max_connected_members: setup.max_connected,
            scope: Scope::Loopback,
            networks: Networks::fixed([]),
            private: true,
            application: "/test".into(),
            kad_protocol: KAD,
            gorpc: None,
            visible: Arc::new(|_| vec![Service::of_test("EchoService")]),
            seed: self.seed.wrapping_mul(1 << 20).wrapping_add(number as u64),
        };
        Discovery::new(config, self.now)
    }

    fn begin(&mut self, number: usize) {
        self.drain(number);
        let offset = Duration::from_millis(number as u64 * 7 % 250);
        self.later(offset, number, Event::Input(Input::Tick));
        self.later(PING, number, Event::Ping);
    }

    fn later(&mut self, wait: Duration, node: usize, what: Event) {
        self.events += 1;
        self.queue.push(Happens { at: std::cmp::Reverse((self.now + wait, self.events)), node, what });
    }

    pub(super) fn number(&self, peer: &PeerId) -> Option<usize> {
        self.nodes.iter().position(|node| node.peer == *peer)
    }

    pub(super) fn are_connected(&self, a: usize, b: usize) -> bool {
        self.connections.get(&pair(a, b)).is_some_and(|count| *count > 0)
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.queue.peek() {
            if next.at.0.0 > end {
                break;
            }
            let Some(Happens { at, node, what }) = self.queue.pop() else { break };
            self.now = at.0.0;
            self.happens(node, what);
        }
        self.now = end;
    }

    /// Run until it holds. How long that took; `None` if it took too long.
    pub(super) fn run_until(&mut self, most: Duration, holds: impl Fn(&Net) -> bool) -> Option<Duration> {
        let start = self.now;
        while !holds(self) {
            if self.now >= start + most {
                return None;
            }
            self.run(Duration::from_millis(50));
        }
        Some(self.now - start)
    }

    fn happens(&mut self, node: usize, what: Event) {
        match what {
            Event::Input(Input::Tick) => {
                self.later(self.tick, node, Event::Input(Input::Tick));
                if self.nodes[node].state == State::Running {
                    self.input(node, Input::Tick);
                }
            }
            Event::Input(input) => self.input(node, input),
            Event::Ping => {
                self.later(PING, node, Event::Ping);
                for other in 0..self.nodes.len() {
                    let reaches = !self.cut.contains(&node) && !self.cut.contains(&other);
                    if reaches && self.are_connected(node, other) && self.nodes[other].state == State::Running {
                        let (peer, at) = (self.nodes[other].peer, self.now);
                        self.input(node, Input::Heard { peer, at });
                    }
                }
            }
            Event::Refused { target } => {
                let (peer, address) = (self.nodes[target].peer, address(target + 1));
                if !self.are_connected(node, target) {
                    self.input(node, Input::Connected { peer, address, outbound: true, first: true });
                    self.later(REFUSAL, node, Event::Input(Input::RefusedUs { peer }));
                }
            }
            Event::Dialled { target } => {
                let (dialler, answerer) = (self.nodes[node].peer, self.nodes[target].peer);
                let is_running = |node: usize| self.nodes[node].state == State::Running && !self.cut.contains(&node);
                if !is_running(target) || !is_running(node) {
                    return self.input(node, failed(answerer, address(target + 1)));
                }
                let count = self.connections.entry(pair(node, target)).or_default();
                *count += 1;
                let first = *count == 1;
                let there = address(target + 1);
                self.input(node, Input::Connected { peer: answerer, address: there, outbound: true, first });
                let here = address(50_000 + node);
                for (me, other) in [(node, target), (target, node)] {
                    if self.half_open.remove(&(me, other)) {
                        let peer = self.nodes[other].peer;
                        self.input(me, Input::Disconnected { peer });
                    }
                }
                self.input(target, Input::Connected { peer: dialler, address: here, outbound: false, first });
                for (me, other) in [(node, target), (target, node)] {
                    let peer = self.nodes[other].peer;
                    self.later(ANSWER, me, Event::Input(Input::Admitted { peer }));
                }
                if first {
                    for (me, other) in [(node, target), (target, node)] {
                        let peer = self.nodes[other].peer;
                        let listen_addresses = vec![address(other + 1)];
                        let protocols = vec![KAD];
                        self.later(ANSWER, me, Event::Input(Input::Identified { peer, listen_addresses, protocols }));
                        self.later(ANSWER, me, Event::Input(Input::Supported { peer }));
                    }
                }
            }
        }
    }

    pub(super) fn input(&mut self, node: usize, input: Input) {
        match self.nodes[node].state {
            State::Running => {
                let now = self.now;
                self.nodes[node].discovery.input(input, now);
                self.drain(node);
            }
            State::Stopped => self.nodes[node].missed.push(input),
            State::Gone => {}
        }
    }

    fn drain(&mut self, node: usize) {
        while let Some(action) = self.nodes[node].discovery.next_action() {
            self.carry_out(node, action);
        }
    }

    fn carry_out(&mut self, node: usize, action: Action) {
        let now = self.now;
        self.trace.push((now - self.start, node, format!("{action:?}")));
        match action {
            Action::Dial { peer, addresses } => {
                self.nodes[node].dialled.push((now, peer));
                self.dial(node, peer, &addresses);
            }
            Action::Close { peer } => {
                if let Some(other) = self.number(&peer) {
                    self.disconnect(node, other);
                }
            }
            Action::Ask(question) => self.ask(node, question),
            Action::SayLeaving { peers } => {
                let peer = self.nodes[node].peer;
                for other in peers.iter().filter_map(|other| self.number(other)).collect::<Vec<_>>() {
                    self.later(ANSWER, other, Event::Input(Input::PeerIsLeaving { peer }));
                }
            }
            Action::Pin { peer, pinned: true } => {
                self.nodes[node].pins.insert(peer);
            }
            Action::Pin { peer, pinned: false } => {
                self.nodes[node].pins.remove(&peer);
            }
            Action::Joined { peer, member } => {
                let before = self.nodes[node].members.insert(peer, member);
                assert!(before.is_none(), "joined twice");
            }
            Action::Changed { peer, member } => {
                let before = self.nodes[node].members.insert(peer, member);
                assert!(before.is_some(), "changed before it joined");
            }
            Action::Left { peer } => {
                assert!(self.nodes[node].members.remove(&peer).is_some(), "left without having joined");
                self.nodes[node].left.push((now, peer));
            }
            other => self.nodes[node].other.push(other),
        }
    }

    fn dial(&mut self, node: usize, peer: PeerId, addresses: &[Multiaddr]) {
        let target = self.number(&peer).filter(|target| {
            let there = address(*target + 1);
            addresses.iter().any(|address| *address == there || Ok(address) == there.clone().with_p2p(peer).as_ref())
        });
        let failed = failed(peer, addresses.first().cloned().unwrap_or_else(|| address(0)));
        if self.cut.contains(&node) {
            let no_route = addresses.iter().filter_map(ip_of).collect();
            let failure = DialFailure { error: "network unreachable".into(), no_route, ..DialFailure::default() };
            return self.later(REFUSAL, node, Event::Input(Input::DialFailed { peer, failure }));
        }
        match target.map(|target| (target, self.nodes[target].state)) {
            Some((target, _)) if self.cut.contains(&target) => self.later(PATIENCE, node, Event::Input(failed)),
            Some((target, _)) if self.blocked.contains(&(target, node)) => {
                self.later(HANDSHAKE, node, Event::Refused { target });
            }
            Some((target, State::Running)) => self.later(HANDSHAKE, node, Event::Dialled { target }),
            Some((_, State::Stopped)) => self.later(PATIENCE, node, Event::Input(failed)),
            Some((_, State::Gone)) | None => self.later(REFUSAL, node, Event::Input(failed)),
        }
    }

    fn ask(&mut self, node: usize, question: Question) {
        let Question { peer, topics, what } = question;
        let asker = self.nodes[node].peer;
        let target = self.number(&peer).filter(|target| self.are_connected(node, *target));
        let target = target.filter(|target| {
            let reaches = !self.cut.contains(&node) && !self.cut.contains(target);
            reaches && self.nodes[*target].state == State::Running
        });
        let lost = || RpcError::never_sent(ErrorKind::DeadlineExceeded, "");
        let wait = if target.is_some() { ANSWER } else { TIMEOUT };
        let member_log = target.map(|target| self.nodes[target].discovery.member_log.clone());
        let input = match what {
            What::Describe => {
                Input::Described { peer, answer: member_log.map(|it| it.describe(&asker, &topics)).ok_or_else(lost) }
            }
            What::List(since) => Input::Listed {
                peer,
                answer: member_log.map(|it| it.list(&asker, &topics, since, self.now)).ok_or_else(lost),
            },
        };
        self.later(wait, node, Event::Input(input));
    }

    pub(super) fn disconnect(&mut self, a: usize, b: usize) {
        for (node, other) in [(a, b), (b, a)] {
            if self.half_open.remove(&(node, other)) && !self.are_connected(a, b) {
                let peer = self.nodes[other].peer;
                self.later(REFUSAL, node, Event::Input(Input::Disconnected { peer }));
            }
        }
        if self.connections.remove(&pair(a, b)).is_some() {
            for (node, other) in [(a, b), (b, a)] {
                let peer = self.nodes[other].peer;
                self.later(REFUSAL, node, Event::Input(Input::Disconnected { peer }));
            }
        }
    }

    /// The cable is out. Who has it sees its connections end; the others hear nothing any more.
    pub(super) fn cut(&mut self, node: usize) {
        self.cut.insert(node);
        for other in 0..self.nodes.len() {
            if self.are_connected(node, other) {
                let peer = self.nodes[other].peer;
                self.later(REFUSAL, node, Event::Input(Input::Disconnected { peer }));
                self.half_open.insert((other, node));
                self.connections.remove(&pair(node, other));
            }
        }
    }

    /// It is in again.
    pub(super) fn mend(&mut self, node: usize) {
        self.cut.remove(&node);
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].state = State::Gone;
        for other in 0..self.nodes.len() {
            self.disconnect(node, other);
        }
    }

    pub(super) fn leave(&mut self, node: usize) {
        self.input(node, Input::ShuttingDown);
        self.run(Duration::from_millis(100));
        self.kill(node);
    }

    /// The same identity at the same place again.
    pub(super) fn restart(&mut self, node: usize, setup: &Setup) {
        let discovery = self.discovery(node, self.nodes[node].peer, setup);
        let sim = &mut self.nodes[node];
        sim.discovery = discovery;
        sim.state = State::Running;
        sim.members.clear();
        sim.pins.clear();
        self.drain(node);
    }

    pub(super) fn stop(&mut self, node: usize) {
        self.nodes[node].state = State::Stopped;
    }

    pub(super) fn go_on(&mut self, node: usize) {
        self.nodes[node].state = State::Running;
        for input in std::mem::take(&mut self.nodes[node].missed) {
            self.input(node, input);
        }
    }

    pub(super) fn knows(&self, node: usize, other: usize) -> bool {
        self.nodes[node].members.contains_key(&self.nodes[other].peer)
    }

    /// True if all that run know all others that run, and nobody else.
    pub(super) fn is_complete(&self) -> bool {
        let running: BTreeSet<PeerId> =
            self.nodes.iter().filter(|node| node.state == State::Running).map(|node| node.peer).collect();
        self.nodes.iter().filter(|node| node.state == State::Running).all(|node| {
            node.members.len() + 1 == running.len() && node.members.keys().all(|peer| running.contains(peer))
        })
    }
}

fn failed(peer: PeerId, tried: Multiaddr) -> Input {
    let failure = DialFailure { error: "refused".into(), tried: vec![tried], ..DialFailure::default() };
    Input::DialFailed { peer, failure }
}

/// Its place in the order of peer ids, and in Kademlia, is random for each seed.
fn peer_of(seed: u64, number: usize) -> PeerId {
    let mut digest = [0; 32];
    SmallRng::seed_from_u64(seed.wrapping_mul(1 << 20).wrapping_add(number as u64)).fill(&mut digest);
    PeerId::from_bytes(&[&[0x12, 0x20][..], &digest].concat()).expect("it is a SHA-256 digest's multihash")
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}
