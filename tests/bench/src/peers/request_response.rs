//! `libp2p::request_response` with a bare codec, as its documentation advises: a length, the bytes, and the behaviour's
//! own concurrency limit raised so that it refuses nothing.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::request_response::{self, Codec, Event, Message, OutboundRequestId, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::sync::{mpsc, oneshot};

/// Bytes behind their length.
#[derive(Clone, Debug, Default)]
struct Bare;

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    io.read_exact(&mut len).await?;
    let mut bytes = vec![0; u32::from_be_bytes(len).min(8 << 20) as usize];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    let mut message = Vec::with_capacity(4 + bytes.len());
    message.extend_from_slice(&u32::try_from(bytes.len()).map_err(io::Error::other)?.to_be_bytes());
    message.extend_from_slice(bytes);
    io.write_all(&message).await
}

impl Codec for Bare {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        read(io).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        read(io).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Vec<u8>,
    ) -> io::Result<()> {
        write(io, &request).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Vec<u8>,
    ) -> io::Result<()> {
        write(io, &response).await
    }
}

type Behaviour = request_response::Behaviour<Bare>;
type Ask = (Vec<u8>, oneshot::Sender<Vec<u8>>);

fn swarm() -> Result<Swarm<Behaviour>, Box<dyn std::error::Error>> {
    let config = request_response::Config::default()
        .with_request_timeout(Duration::from_secs(30))
        .with_max_concurrent_streams(4096);
    let protocol = (StreamProtocol::new("/bench/1"), ProtocolSupport::Full);
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| Behaviour::new([protocol], config))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    Ok(swarm)
}

/// Two swarms, connected, in this process.
#[derive(Debug)]
pub struct Pair {
    asks: mpsc::UnboundedSender<Ask>,
}

impl Pair {
    /// Start both on loopback.
    ///
    /// # Errors
    /// If a swarm can't be made or doesn't listen.
    pub async fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let (mut server, mut client) = (swarm()?, swarm()?);
        let peer = *server.local_peer_id();
        server.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = server.select_next_some().await {
                break address;
            }
        };
        client.add_peer_address(peer, address);
        tokio::spawn(serve(server));
        let (asks, asked) = mpsc::unbounded_channel();
        tokio::spawn(call(client, peer, asked));
        Ok(Pair { asks })
    }

    /// What a caller calls.
    pub fn caller(&self) -> impl Fn(String) -> BoxFuture<'static, String> + Clone + Send + 'static {
        let asks = self.asks.clone();
        move |message| {
            let asks = asks.clone();
            Box::pin(async move {
                let (answer, answered) = oneshot::channel();
                asks.send((message.into_bytes(), answer)).expect("the swarm of request_response ended");
                let reply = answered.await.expect("an echo of request_response failed");
                String::from_utf8(reply).expect("the echo is not text")
            })
        }
    }
}

async fn serve(mut swarm: Swarm<Behaviour>) {
    loop {
        if let SwarmEvent::Behaviour(Event::Message { message: Message::Request { request, channel, .. }, .. }) =
            swarm.select_next_some().await
        {
            let _ = swarm.behaviour_mut().send_response(channel, request);
        }
    }
}

async fn call(mut swarm: Swarm<Behaviour>, peer: PeerId, mut asked: mpsc::UnboundedReceiver<Ask>) {
    let mut waiting: HashMap<OutboundRequestId, oneshot::Sender<Vec<u8>>> = HashMap::new();
    loop {
        tokio::select! {
            ask = asked.recv() => {
                let Some((request, answer)) = ask else { return };
                waiting.insert(swarm.behaviour_mut().send_request(&peer, request), answer);
            }
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(Event::Message { message: Message::Response { request_id, response }, .. }) => {
                    if let Some(answer) = waiting.remove(&request_id) {
                        let _ = answer.send(response);
                    }
                }
                SwarmEvent::Behaviour(Event::OutboundFailure { request_id, .. }) => {
                    waiting.remove(&request_id);
                }
                _ => {}
            }
        }
    }
}
