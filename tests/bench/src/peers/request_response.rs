//! `libp2p::request_response` as its documentation advises, with a bare codec (a length and the bytes) and with its own of CBOR,
//! and the behaviour's own concurrency limit raised so that it refuses nothing.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::request_response::{self, Codec, Event, Message, OutboundRequestId, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::sync::{mpsc, oneshot};

use super::{Client, Error, Server, Transport};

/// Bytes behind their length.
#[derive(Clone, Debug, Default)]
pub struct Bare;

/// Texts as the crate's own codec writes them.
pub type Cbor = request_response::cbor::codec::Codec<String, String>;

/// A codec of texts.
pub trait Texts:
    Codec<Protocol = StreamProtocol, Request: From<String>, Response: Into<String>> + Clone + Send + 'static
{
    /// A new one, for messages of 1 MiB and a little.
    fn new() -> Self;
    /// The same again.
    fn echo(request: Self::Request) -> Self::Response;
}

impl Texts for Cbor {
    fn new() -> Self {
        Self::default().set_request_size_maximum(8 << 20).set_response_size_maximum(8 << 20)
    }

    fn echo(request: String) -> String {
        request
    }
}

/// A text as its bytes.
#[derive(Debug)]
pub struct Bytes(Vec<u8>);

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        Bytes(text.into_bytes())
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        String::from_utf8(bytes.0).expect("the echo is not text")
    }
}

impl Texts for Bare {
    fn new() -> Self {
        Bare
    }

    fn echo(request: Bytes) -> Bytes {
        request
    }
}

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
    type Request = Bytes;
    type Response = Bytes;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes> {
        read(io).await.map(Bytes)
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Bytes> {
        read(io).await.map(Bytes)
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Bytes,
    ) -> io::Result<()> {
        write(io, &request.0).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Bytes,
    ) -> io::Result<()> {
        write(io, &response.0).await
    }
}

type Behaviour<C> = request_response::Behaviour<C>;
type Ask = (String, oneshot::Sender<String>);

fn swarm<C: Texts>() -> Result<Swarm<Behaviour<C>>, Error> {
    let config = request_response::Config::default()
        .with_request_timeout(Duration::from_secs(30))
        .with_max_concurrent_streams(4096);
    let protocol = (StreamProtocol::new("/bench/1"), ProtocolSupport::Full);
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_quic()
        .with_behaviour(|_| Behaviour::with_codec(C::new(), [protocol], config))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build();
    Ok(swarm)
}

pub(super) async fn serve<C: Texts>(transport: Transport) -> Result<Server, Error> {
    let mut swarm = swarm::<C>()?;
    swarm.listen_on(transport.loopback().parse()?)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break format!("{address}/p2p/{}", swarm.local_peer_id());
        }
    };
    let task = tokio::spawn(answer(swarm));
    Ok(Server { address, keep: Box::new(task) })
}

pub(super) async fn connect<C: Texts>(_: Transport, address: &str) -> Result<Client, Error> {
    let mut swarm = swarm::<C>()?;
    let address: Multiaddr = address.parse()?;
    swarm.dial(address)?;
    let peer = loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => break peer_id,
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
            _ => {}
        }
    };
    let (asks, asked) = mpsc::unbounded_channel::<Ask>();
    let task = tokio::spawn(call(swarm, peer, asked));
    let echo = move |message| {
        let asks = asks.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            asks.send((message, answer)).expect("the swarm of request_response ended");
            answered.await.expect("an echo of request_response failed")
        }) as _
    };
    Ok(Client { echo: Arc::new(echo), keep: Box::new(task) })
}

async fn answer<C: Texts>(mut swarm: Swarm<Behaviour<C>>) {
    loop {
        if let SwarmEvent::Behaviour(Event::Message { message: Message::Request { request, channel, .. }, .. }) =
            swarm.select_next_some().await
        {
            let _ = swarm.behaviour_mut().send_response(channel, C::echo(request));
        }
    }
}

async fn call<C: Texts>(mut swarm: Swarm<Behaviour<C>>, peer: PeerId, mut asked: mpsc::UnboundedReceiver<Ask>) {
    let mut waiting: HashMap<OutboundRequestId, oneshot::Sender<String>> = HashMap::new();
    loop {
        tokio::select! {
            ask = asked.recv() => {
                let Some((request, answer)) = ask else { return };
                waiting.insert(swarm.behaviour_mut().send_request(&peer, request.into()), answer);
            }
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(Event::Message { message: Message::Response { request_id, response }, .. }) => {
                    if let Some(answer) = waiting.remove(&request_id) {
                        let _ = answer.send(response.into());
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
