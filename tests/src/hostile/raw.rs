//! A libp2p peer that opens substreams under p2prpc's protocol and hands the bytes to the test.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::futures::StreamExt;
use libp2p::identity::PublicKey;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, SubstreamProtocol, SwarmEvent, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identify, noise, tcp, yamux};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::PROTOCOL;
use super::stream::{RawStream, varint};

const IDENTIFY: StreamProtocol = StreamProtocol::new("/ipfs/id/1.0.0");

type Opened = oneshot::Sender<Stream>;

/// Gives and takes streams. Dropping it ends its connections.
pub struct RawPeer {
    id: PeerId,
    address: Multiaddr,
    commands: mpsc::UnboundedSender<Command>,
    accepted: mpsc::UnboundedReceiver<Stream>,
    connections: mpsc::UnboundedReceiver<PeerId>,
    task: JoinHandle<()>,
}

enum Command {
    Dial(Multiaddr),
    Open(PeerId, Opened),
    Disconnect(PeerId),
    /// Close each connection as soon as it is there.
    RefuseConnections,
}

impl RawPeer {
    /// A peer that listens on loopback.
    ///
    /// # Panics
    /// If it can't.
    pub async fn start() -> Self {
        Self::speaking(&format!("{PROTOCOL}/p2prpc/1")).await
    }

    /// One whose substreams are under another protocol.
    ///
    /// # Panics
    /// If it can't listen, or if that isn't a protocol id.
    pub async fn speaking(protocol: &str) -> Self {
        Self::with(protocol, false, &[]).await
    }

    /// One that says, by identify, that it speaks these, whatever it speaks.
    ///
    /// # Panics
    /// If it can't listen, or if that isn't a protocol id.
    pub async fn claiming(protocol: &str, claims: &[&str]) -> Self {
        Self::with(protocol, false, claims).await
    }

    /// One that also says, by identify, that it speaks this protocol, and where it listens.
    ///
    /// # Panics
    /// If it can't listen, or if that isn't a protocol id.
    pub async fn identified(protocol: &str) -> Self {
        Self::with(protocol, true, &[]).await
    }

    async fn with(protocol: &str, identified: bool, claims: &[&str]) -> Self {
        let protocol = StreamProtocol::try_from_owned(protocol.into()).expect("a protocol id");
        let (accept, accepted) = mpsc::unbounded_channel();
        let mut yamux = yamux::Config::default();
        // It may open more than any honest peer.
        yamux.set_max_num_streams(4096);
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, move || yamux)
            .expect("Noise takes any key")
            .with_behaviour(|key| {
                let raw = Raw { protocol, accept, events: VecDeque::new(), waker: None };
                let says = || identify::Behaviour::new(identify::Config::new("/raw".into(), key.public()));
                let claims = (!claims.is_empty()).then(|| claimant(&key.public(), claims));
                Peer { raw, identify: identified.then(says).into(), claims: claims.into() }
            })
            .expect("it is infallible")
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
            .build();
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("loopback is there");
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let id = *swarm.local_peer_id();
        let (commands, orders) = mpsc::unbounded_channel();
        let (connected, connections) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(swarm, orders, connected));
        RawPeer { id, address, commands, accepted, connections, task }
    }

    /// Its own id.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Where it listens.
    pub fn address(&self) -> Multiaddr {
        self.address.clone()
    }

    /// One more connection to a peer.
    ///
    /// # Panics
    /// If there is none after 10 s.
    pub async fn connect(&mut self, address: &Multiaddr) {
        self.command(Command::Dial(address.clone()));
        self.connection().await;
    }

    /// Waits for the next connection, whoever made it.
    ///
    /// # Panics
    /// If there is none after 10 s.
    pub async fn connection(&mut self) -> PeerId {
        let next = tokio::time::timeout(Duration::from_secs(10), self.connections.recv()).await;
        next.expect("no connection after 10 s").expect("the peer runs")
    }

    /// How many connections there were since the last question.
    pub fn connections_since(&mut self) -> usize {
        std::iter::from_fn(|| self.connections.try_recv().ok()).count()
    }

    /// Open a stream to a peer that is connected; `None` if the peer refuses.
    pub async fn open(&self, peer: PeerId) -> Option<RawStream> {
        let (opened, stream) = oneshot::channel();
        self.command(Command::Open(peer, opened));
        stream.await.ok().map(RawStream::new)
    }

    /// The next stream that a peer opens to this one.
    ///
    /// # Panics
    /// If there is none after 10 s.
    pub async fn accept(&mut self) -> RawStream {
        let next = tokio::time::timeout(Duration::from_secs(10), self.accepted.recv()).await;
        RawStream::new(next.expect("no stream after 10 s").expect("the peer runs"))
    }

    /// The next stream that a peer opens to this one, however long it takes.
    pub async fn accept_any(&mut self) -> Option<RawStream> {
        self.accepted.recv().await.map(RawStream::new)
    }

    /// All streams that peers have opened meanwhile.
    pub fn accepted_since(&mut self) -> Vec<RawStream> {
        std::iter::from_fn(|| self.accepted.try_recv().ok()).map(RawStream::new).collect()
    }

    /// End all connections to a peer.
    pub fn disconnect(&self, peer: PeerId) {
        self.command(Command::Disconnect(peer));
    }

    /// From now on close each connection as soon as it is there.
    pub fn refuse_connections(&self) {
        self.command(Command::RefuseConnections);
    }

    fn command(&self, command: Command) {
        assert!(self.commands.send(command).is_ok(), "the peer has ended");
    }
}

impl Drop for RawPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for RawPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawPeer").field("id", &self.id).finish_non_exhaustive()
    }
}

async fn run(
    mut swarm: Swarm<Peer>,
    mut orders: mpsc::UnboundedReceiver<Command>,
    connected: mpsc::UnboundedSender<PeerId>,
) {
    let mut refuse = false;
    loop {
        tokio::select! {
            event = swarm.select_next_some() => {
                if let SwarmEvent::ConnectionEstablished { peer_id, .. } = event {
                    let _ = connected.send(peer_id);
                    if refuse {
                        let _ = swarm.disconnect_peer_id(peer_id);
                    }
                }
            }
            order = orders.recv() => match order {
                None => return,
                // It fails if the other end refuses: the test sees that no connection comes.
                Some(Command::Dial(address)) => drop(swarm.dial(address)),
                Some(Command::Open(peer, opened)) => swarm.behaviour_mut().raw.open(peer, opened),
                Some(Command::Disconnect(peer)) => drop(swarm.disconnect_peer_id(peer)),
                Some(Command::RefuseConnections) => refuse = true,
            }
        }
    }
}

#[derive(NetworkBehaviour)]
struct Peer {
    raw: Raw,
    identify: Toggle<identify::Behaviour>,
    claims: Toggle<Raw>,
}

/// Answers who asks by identify that it speaks all that.
fn claimant(key: &PublicKey, protocols: &[&str]) -> Raw {
    let field = |tag: u8, bytes: &[u8]| [&[tag << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat();
    let claims = protocols.iter().flat_map(|protocol| field(3, protocol.as_bytes()));
    let said: Vec<u8> = field(1, &key.encode_protobuf()).into_iter().chain(claims).collect();
    let said = [varint(said.len() as u64), said].concat();
    let (accept, mut accepted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(stream) = accepted.recv().await {
            let mut stream = RawStream::new(stream);
            stream.send_bytes(&said).await;
            stream.half_close().await;
        }
    });
    Raw { protocol: IDENTIFY, accept, events: VecDeque::new(), waker: None }
}

struct Raw {
    protocol: StreamProtocol,
    accept: mpsc::UnboundedSender<Stream>,
    events: VecDeque<ToSwarm<Infallible, Opened>>,
    waker: Option<Waker>,
}

impl Raw {
    fn open(&mut self, peer_id: PeerId, opened: Opened) {
        self.events.push_back(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event: opened });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn handler(&self) -> RawHandler {
        let (protocol, accept) = (self.protocol.clone(), self.accept.clone());
        RawHandler { protocol, accept, wanted: VecDeque::new(), asked: VecDeque::new(), waker: None }
    }
}

impl NetworkBehaviour for Raw {
    type ConnectionHandler = RawHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

struct RawHandler {
    protocol: StreamProtocol,
    accept: mpsc::UnboundedSender<Stream>,
    wanted: VecDeque<Opened>,
    asked: VecDeque<Opened>,
    waker: Option<Waker>,
}

impl ConnectionHandler for RawHandler {
    type FromBehaviour = Opened;
    type ToBehaviour = Infallible;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, (), Infallible>> {
        if let Some(opened) = self.wanted.pop_front() {
            self.asked.push_back(opened);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol: self.listen_protocol() });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, opened: Opened) {
        self.wanted.push_back(opened);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                if let Some(opened) = self.asked.pop_front() {
                    let _ = opened.send(protocol);
                }
            }
            ConnectionEvent::DialUpgradeError(_) => drop(self.asked.pop_front()),
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                let _ = self.accept.send(protocol);
            }
            _ => {}
        }
    }
}
