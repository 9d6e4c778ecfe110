//! A victim, an honest peer that calls it all the time, and the question whether both are well.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libp2p::futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, noise, tcp, yamux};
use p2prpc::behaviour::{Behaviour, Config};
use p2prpc::{Handle, Limits, RpcError};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::PROTOCOL;
use super::raw::RawPeer;
use super::stream::RawStream;
use super::target::{Count, Probe, TargetClient, TargetServer};

/// An honest call may take so long, on a busy machine, whatever others do.
const PATIENCE: Duration = Duration::from_secs(3);

type Look = Box<dyn FnOnce(&mut Swarm<Behaviour>) + Send>;

/// A bare [`Behaviour`] in a Swarm, which serves a [`Probe`].
pub struct Victim {
    id: PeerId,
    address: Multiaddr,
    handle: Handle,
    count: Arc<Count>,
    looks: mpsc::UnboundedSender<Look>,
    task: JoinHandle<()>,
}

impl Victim {
    /// One that listens on loopback.
    ///
    /// # Panics
    /// If it can't.
    pub async fn start(limits: Limits) -> Self {
        Self::with(Config::new(PROTOCOL).expect("a valid protocol").limits(limits)).await
    }

    async fn with(config: Config) -> Self {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .expect("Noise takes any key")
            .with_behaviour(|key| Behaviour::new(key.public().to_peer_id(), config))
            .expect("it is infallible")
            .build();
        let probe = Probe::default();
        let count = probe.0.clone();
        swarm.behaviour().serve(TargetServer::new(probe)).expect("nothing else is served");
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("loopback is there");
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let (id, handle) = (*swarm.local_peer_id(), swarm.behaviour().handle());
        let (looks, mut look) = mpsc::unbounded_channel::<Look>();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = swarm.select_next_some() => {}
                    look = look.recv() => match look {
                        Some(look) => look(&mut swarm),
                        None => return,
                    }
                }
            }
        });
        Victim { id, address, handle, count, looks, task }
    }

    /// Its id.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Where it listens.
    pub fn address(&self) -> &Multiaddr {
        &self.address
    }

    /// What its handlers saw.
    pub fn count(&self) -> &Count {
        &self.count
    }

    /// For calls of its own.
    pub fn client(&self) -> TargetClient {
        TargetClient::new(&self.handle)
    }

    /// Ask its Swarm something.
    ///
    /// # Panics
    /// If it is gone.
    pub async fn look<T: Send + 'static>(&self, look: impl FnOnce(&mut Swarm<Behaviour>) -> T + Send + 'static) -> T {
        let (answer, answered) = oneshot::channel();
        let look: Look = Box::new(move |swarm| drop(answer.send(look(swarm))));
        assert!(self.looks.send(look).is_ok(), "the victim has ended");
        answered.await.expect("the victim runs")
    }

    /// Let it know where a peer is.
    pub async fn knows(&self, peer: &RawPeer) {
        let (id, address) = (peer.id(), peer.address());
        self.look(move |swarm| swarm.add_peer_address(id, address)).await;
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Victim").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Calls the victim over and over, one call at a time.
#[derive(Debug)]
pub struct Honest {
    _node: Victim,
    calls: Arc<AtomicU64>,
    slowest_ms: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Honest {
    /// Begin to call `victim`.
    ///
    /// # Panics
    /// If the first call fails.
    pub async fn start(victim: &Victim) -> Self {
        let node = Victim::start(Limits::default()).await;
        let (id, address) = (victim.id, victim.address.clone());
        node.look(move |swarm| swarm.add_peer_address(id, address)).await;
        let stub = node.client().timeout(PATIENCE).peer(id);
        stub.echo("first".into()).await.expect("the first honest call");
        let calls = Arc::<AtomicU64>::default();
        let slowest_ms = Arc::<AtomicU64>::default();
        let failed = Arc::<AtomicBool>::default();
        let (n, slowest, bad) = (calls.clone(), slowest_ms.clone(), failed.clone());
        let task = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                if let Err(error) = stub.echo("honest".into()).await {
                    eprintln!("an honest call failed: {error}");
                    bad.store(true, Ordering::SeqCst);
                }
                let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                slowest.fetch_max(took, Ordering::SeqCst);
                n.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Honest { _node: node, calls, slowest_ms, failed, task }
    }

    /// Waits for 20 more calls and asserts that none failed or took too long since the beginning.
    ///
    /// # Panics
    /// If one did.
    pub async fn is_served(&self) {
        let enough = self.calls.load(Ordering::SeqCst) + 20;
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while self.calls.load(Ordering::SeqCst) < enough {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "honest calls stand still");
        assert!(!self.failed.load(Ordering::SeqCst), "an honest call failed");
        let slowest = Duration::from_millis(self.slowest_ms.load(Ordering::SeqCst));
        assert!(slowest < PATIENCE, "an honest call took {slowest:?}");
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A victim, an honest peer that calls it, and a hostile one that is connected to it.
#[derive(Debug)]
pub struct Scene {
    /// The one to hurt.
    pub victim: Victim,
    /// The one not to hurt.
    pub honest: Honest,
    /// The one that hurts.
    pub raw: RawPeer,
    tasks: usize,
}

impl Scene {
    /// With the default limits.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With other limits of the victim.
    ///
    /// # Panics
    /// If the honest peer can't call, or the hostile one can't connect.
    pub async fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        Self::between(Victim::start(limits).await, RawPeer::start().await).await
    }

    /// The victim speaks with Go peers too, and the hostile one is like them.
    ///
    /// # Panics
    /// If the honest peer can't call, or the hostile one can't connect.
    pub async fn with_go_peer() -> Self {
        let config = Config::new(PROTOCOL).expect("a valid protocol").gorpc(true);
        Self::between(Victim::with(config).await, RawPeer::speaking(PROTOCOL).await).await
    }

    async fn between(victim: Victim, mut raw: RawPeer) -> Self {
        let honest = Honest::start(&victim).await;
        let tasks = alive_tasks();
        raw.connect(&victim.address).await;
        Scene { victim, honest, raw, tasks }
    }

    /// A stream of the hostile peer, on which nothing has been said yet.
    ///
    /// # Panics
    /// If the victim refuses it.
    pub async fn stream(&self) -> RawStream {
        self.raw.open(self.victim.id).await.expect("the victim takes a stream")
    }

    /// A stream of the hostile peer that began with a hello.
    pub async fn greeted(&self) -> RawStream {
        let mut stream = self.stream().await;
        stream.hello().await;
        stream
    }

    /// The victim is as well as before: honest calls went on, the hostile peer's own honest words are heard on a new stream,
    /// and once it is gone nothing of it is left: no handler, no call, no task.
    ///
    /// # Panics
    /// If it isn't.
    pub async fn is_unharmed(self) {
        self.honest.is_served().await;
        let mut stream = self.greeted().await;
        stream.call(1, "Target.Echo", &"honest").await;
        let answer = stream.next().await;
        assert!(matches!(answer, Some(super::Got::Response { id: 1, .. })), "{answer:?}");
        self.is_cleared().await;
    }

    /// Once the hostile peer is gone nothing of it is left.
    ///
    /// # Panics
    /// If something is.
    pub async fn is_cleared(self) {
        let Scene { victim, honest, raw, tasks } = self;
        honest.is_served().await;
        drop(raw);
        let cleared = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                // The raw peer's own Swarm task has ended too.
                if victim.count.alive() == 0 && alive_tasks() < tasks {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let outcome = cleared.await;
        assert!(outcome.is_ok(), "{} handlers, {} tasks of {tasks}", victim.count.alive(), alive_tasks());
        drop(honest);
        let idle = tokio::time::timeout(Duration::from_secs(10), async {
            while victim.look(|swarm| swarm.behaviour().calls_in_flight()).await > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(idle.await.is_ok(), "calls are left");
    }

    /// The victim calls the hostile peer.
    pub async fn call(&self, text: &str, timeout: Duration) -> Result<String, RpcError> {
        self.victim.client().timeout(timeout).peer(self.raw.id()).echo(text.into()).await
    }
}

fn alive_tasks() -> usize {
    runtime::Handle::current().metrics().num_alive_tasks()
}
