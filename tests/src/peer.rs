//! A Swarm with nothing in it but a `Behaviour`, driven by a task.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use libp2p::core::upgrade::Version;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, Swarm, SwarmEvent};
use libp2p::{Multiaddr, SwarmBuilder, noise, tcp, yamux};
use p2prpc::behaviour::{Behaviour, Config};
use p2prpc::prelude::*;
use p2prpc::{Limits, ServeError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::{soon, until};

/// What carries the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP with Noise and Yamux.
    #[default]
    Tcp,
    /// QUIC.
    Quic,
}

type Command = Box<dyn FnOnce(&mut Swarm<Behaviour>) + Send>;
type Connections = HashMap<PeerId, Vec<ConnectionId>>;

/// A peer on loopback. Dropping it is its sudden death: its Swarm is dropped where it stands.
#[derive(Debug)]
pub struct Peer {
    id: PeerId,
    address: Multiaddr,
    handle: Handle,
    commands: mpsc::UnboundedSender<Command>,
    connections: watch::Sender<Connections>,
    connected_ever: watch::Sender<usize>,
    task: JoinHandle<()>,
}

/// How a [`Peer`] is to be.
#[derive(Debug)]
pub struct PeerBuilder {
    transport: Transport,
    config: Config,
    services: Vec<Service>,
    idle_connection: Duration,
    polled: bool,
    hangs_up: bool,
    lazy: bool,
}

impl Peer {
    /// A peer that serves nothing, over TCP.
    pub async fn start() -> Peer {
        Peer::builder().start().await
    }

    /// A peer that serves this, over TCP.
    pub async fn serving(service: impl Into<Service>) -> Peer {
        Peer::builder().serve(service).start().await
    }

    /// A peer of one's wishes.
    pub fn builder() -> PeerBuilder {
        PeerBuilder {
            transport: Transport::Tcp,
            config: Config::new("/tests").expect("a valid protocol id"),
            services: Vec::new(),
            idle_connection: Duration::from_secs(10),
            polled: true,
            hangs_up: false,
            lazy: false,
        }
    }

    /// Its peer id.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Where it listens.
    pub fn address(&self) -> &Multiaddr {
        &self.address
    }

    /// What its clients are made from.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Do something with its Swarm.
    pub async fn with<T: Send + 'static>(&self, act: impl FnOnce(&mut Swarm<Behaviour>) -> T + Send + 'static) -> T {
        let (answer, answered) = oneshot::channel();
        let command: Command = Box::new(move |swarm| {
            let _ = answer.send(act(swarm));
        });
        self.commands.send(command).expect("the peer runs");
        soon("the swarm is polled", answered).await.expect("the peer runs")
    }

    /// Serve another service.
    pub async fn serve(&self, service: impl Into<Service>) -> Result<(), ServeError> {
        let service = service.into();
        self.with(|swarm| swarm.behaviour().serve(service)).await
    }

    /// Tell it where another peer is. It doesn't dial.
    pub async fn knows(&self, other: &Peer) {
        let (id, address) = (other.id, other.address.clone());
        self.with(move |swarm| swarm.add_peer_address(id, address)).await;
    }

    /// Dial another peer, whether there is a connection already or not.
    pub async fn dial(&self, other: &Peer) {
        let opts = DialOpts::peer_id(other.id).addresses(vec![other.address.clone()]);
        let opts = opts.condition(PeerCondition::Always).build();
        self.with(move |swarm| swarm.dial(opts)).await.expect("it can be dialled");
    }

    /// Its connections to another, the oldest first.
    pub fn connections(&self, other: &Peer) -> Vec<ConnectionId> {
        self.connections.borrow().get(&other.id).cloned().unwrap_or_default()
    }

    /// How many connections it ever had.
    pub fn connected_ever(&self) -> usize {
        *self.connected_ever.borrow()
    }

    /// Waits until it has so many connections to another.
    pub async fn has_connections(&self, other: &Peer, n: usize) {
        let count = |all: &Connections| all.get(&other.id).map_or(0, Vec::len);
        until(&format!("{n} connections"), &self.connections, |all| count(all) == n).await;
    }

    /// End one connection, without waiting for anything on it.
    pub async fn cut(&self, connection: ConnectionId) {
        assert!(self.with(move |swarm| swarm.close_connection(connection)).await, "there is such a connection");
    }

    /// End all connections that it has to another. It may dial that one again at once.
    pub async fn cut_all(&self, other: &Peer) {
        let cut = self.connections(other);
        let id = other.id;
        let _ = self.with(move |swarm| swarm.disconnect_peer_id(id)).await;
        let left = |all: &Connections| all.get(&id).is_none_or(|left| !cut.iter().any(|cut| left.contains(cut)));
        until("the connections are lost", &self.connections, left).await;
    }

    /// Its sudden death, and the end of it.
    pub async fn kill(mut self) {
        self.task.abort();
        let _ = soon("it dies", &mut self.task).await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl From<&Peer> for Handle {
    fn from(peer: &Peer) -> Handle {
        peer.handle.clone()
    }
}

impl PeerBuilder {
    /// Other than TCP.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Serve this too.
    pub fn serve(mut self, service: impl Into<Service>) -> Self {
        self.services.push(service.into());
        self
    }

    /// Another application's protocol. Default `/tests`.
    pub fn protocol(mut self, protocol: &str) -> Self {
        self.config = Config::new(protocol).expect("a valid protocol id");
        self
    }

    /// It speaks gorpc too.
    pub fn gorpc(mut self) -> Self {
        self.config = self.config.gorpc(true);
        self
    }

    /// It speaks gorpc and nothing else, as Go peers do.
    pub fn only_gorpc(mut self) -> Self {
        self.config = self.config.only_gorpc();
        self
    }

    /// Change the limits.
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        self.config = self.config.limits(limits);
        self
    }

    /// How long its call streams stay without a call.
    pub fn idle_stream(mut self, time: Duration) -> Self {
        self.config = self.config.idle_timeout(time);
        self
    }

    /// How long its Swarm keeps connections that nobody needs. Default 10 s.
    pub fn idle_connection(mut self, time: Duration) -> Self {
        self.idle_connection = time;
        self
    }

    /// How long its calls may take that don't say otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config = self.config.timeout(timeout);
        self
    }

    /// Its Swarm isn't polled, ever, once it listens.
    pub fn never_polled(mut self) -> Self {
        self.polled = false;
        self
    }

    /// It closes each connection as soon as it is there.
    pub fn hangs_up(mut self) -> Self {
        self.hangs_up = true;
        self
    }

    /// Its streams are negotiated lazily: it writes before it knows whether the other speaks the protocol.
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// Start it. With `RUST_LOG` set, what it says is shown.
    pub async fn start(self) -> Peer {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let mut swarm = self.swarm();
        for service in self.services {
            swarm.behaviour().serve(service).expect("no other has its name");
        }
        let listen = match self.transport {
            Transport::Tcp => "/ip4/127.0.0.1/tcp/0",
            Transport::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        };
        swarm.listen_on(listen.parse().expect("a valid address")).expect("loopback can be listened on");
        let address = soon("it listens", async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    break address;
                }
            }
        })
        .await;
        let (commands, received) = mpsc::unbounded_channel();
        let (connections, connected_ever) = (watch::Sender::default(), watch::Sender::default());
        let (id, handle) = (*swarm.local_peer_id(), swarm.behaviour().handle());
        let driver = Driver {
            swarm,
            commands: received,
            polled: self.polled,
            hangs_up: self.hangs_up,
            connections: connections.clone(),
            connected_ever: connected_ever.clone(),
        };
        let task = tokio::spawn(driver.drive());
        Peer { id, address, handle, commands, connections, connected_ever, task }
    }

    fn swarm(&self) -> Swarm<Behaviour> {
        let (idle, version) = (self.idle_connection, if self.lazy { Version::V1Lazy } else { Version::V1 });
        SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .expect("TCP works")
            .with_quic()
            .with_behaviour(|key| Behaviour::new(key.public().to_peer_id(), self.config.clone()))
            .expect("it can't fail")
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(idle).with_substream_upgrade_protocol_override(version)
            })
            .build()
    }
}

struct Driver {
    swarm: Swarm<Behaviour>,
    commands: mpsc::UnboundedReceiver<Command>,
    polled: bool,
    hangs_up: bool,
    connections: watch::Sender<Connections>,
    connected_ever: watch::Sender<usize>,
}

impl Driver {
    async fn drive(mut self) {
        loop {
            tokio::select! {
                Some(command) = self.commands.recv() => command(&mut self.swarm),
                event = self.swarm.select_next_some(), if self.polled => self.note(&event),
                else => return,
            }
        }
    }

    fn note<T>(&mut self, event: &SwarmEvent<T>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                self.connections.send_modify(|all| all.entry(*peer_id).or_default().push(*connection_id));
                self.connected_ever.send_modify(|count| *count += 1);
                if self.hangs_up {
                    self.swarm.close_connection(*connection_id);
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => self.connections.send_modify(|all| {
                if let Some(of) = all.get_mut(peer_id) {
                    of.retain(|other| other != connection_id);
                }
            }),
            _ => {}
        }
    }
}

/// One connection from `from` to `to`, and both know of it.
pub async fn connect(from: &Peer, to: &Peer) {
    let before = from.connections(to).len();
    from.knows(to).await;
    from.dial(to).await;
    from.has_connections(to, before + 1).await;
    to.has_connections(from, before + 1).await;
}

/// Each of `peers` knows where all others are. Nobody is connected.
pub async fn mesh(peers: &[&Peer]) {
    for one in peers {
        for other in peers.iter().filter(|other| other.id != one.id) {
            one.knows(other).await;
        }
    }
}
