//! The transports of a node: TCP with Noise and Yamux, QUIC where it is compiled in, both behind names, and dials in turn.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, PortUse, TransportError, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, Transport, noise, tcp, yamux};

use super::first_bytes::{FirstBytes, Meaning};
use super::named::Named;
use super::resolver::Resolver;
use super::staggered::{Dials, Staggered};
#[cfg(feature = "pnet")]
use super::{private_network::PreSharedKey, private_stream};

/// From the first packet of a connection to the end of its handshake.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams of one connection, both directions and all protocols: the next one ends the connection.
const MAX_STREAMS: usize = 512;
/// The same where each call of a Go peer is a stream.
const MAX_STREAMS_GORPC: usize = 2048;
/// Streams that the other end of a QUIC connection may have open; it waits past that. Each has its place from the start.
#[cfg(feature = "quic")]
const MAX_QUIC_STREAMS: u32 = 256;
/// The same where each call of a Go peer is a stream.
#[cfg(feature = "quic")]
const MAX_QUIC_STREAMS_GORPC: u32 = 1024;

/// Longer than discovery waits for a sign of life of a member, in ms.
#[cfg(feature = "quic")]
const QUIC_IDLE_MS: u32 = 25_000;
/// Short enough for the tables of routers that forget.
#[cfg(feature = "quic")]
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What connections are secured with.
#[derive(Clone, Copy)]
pub(in crate::node) struct Secured<'a> {
    pub(in crate::node) keypair: &'a Keypair,
    #[cfg(feature = "pnet")]
    pub(in crate::node) pre_shared_key: Option<&'a PreSharedKey>,
}

/// One transport for all addresses that a node can listen on and dial.
pub(in crate::node) fn build(
    secured: Secured<'_>,
    gorpc: bool,
    resolver: Arc<Resolver>,
    dials: Dials,
) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let named = Named::new(without_names(secured, gorpc)?, resolver);
    // The time of a dial begins with its turn.
    let accepting = TransportTimeout::with_ingoing_timeout(named, SETUP_TIMEOUT).boxed();
    Ok(Staggered::new(accepting, dials, SETUP_TIMEOUT).boxed())
}

fn without_names(secured: Secured<'_>, gorpc: bool) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let tcp = FreshPorts(tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))).map_err(Tcp);
    #[cfg(feature = "pnet")]
    if let Some(key) = secured.pre_shared_key {
        let key = key.key();
        let private = tcp.and_then(move |socket, _| private_stream::handshake(key, socket));
        return upgraded(private, secured.keypair, gorpc);
    }
    let tcp = tcp.map(|socket, _| FirstBytes::new(socket, Meaning::NoKey));
    let transport = upgraded(tcp, secured.keypair, gorpc)?;
    #[cfg(feature = "quic")]
    let transport = transport.or_transport(quic(secured.keypair, gorpc)).map(|either, _| either.into_inner());
    Ok(transport.boxed())
}

/// With Noise and Yamux.
fn upgraded<T>(transport: T, keypair: &Keypair, gorpc: bool) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(if gorpc { MAX_STREAMS_GORPC } else { MAX_STREAMS });
    let noise = noise::Config::new(keypair).map_err(io::Error::other)?;
    let transport = transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(transport.boxed())
}

#[cfg(feature = "quic")]
fn quic(keypair: &Keypair, gorpc: bool) -> Boxed<(PeerId, StreamMuxerBox)> {
    let mut config = libp2p::quic::Config::new(keypair);
    // The node watches its connections itself, and a path may stall for longer than QUIC would wait.
    config.max_idle_timeout = QUIC_IDLE_MS;
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    config.max_concurrent_stream_limit = if gorpc { MAX_QUIC_STREAMS_GORPC } else { MAX_QUIC_STREAMS };
    libp2p::quic::tokio::Transport::new(config).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed()
}

/// What the system says, so that it is found below the layers above: libp2p's own would hide it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Tcp(#[source] io::Error);

/// Dials from a fresh port each time, never from the listening one.
///
/// Two nodes that dial each other from their listening ports at once make one connection that has two dialers and no
/// listener: its handshake fails on both sides.
struct FreshPorts<T>(T);

impl<T: Transport + Unpin> Transport for FreshPorts<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.0.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<T::Dial, TransportError<T::Error>> {
        self.0.dial(address, DialOpts { port_use: PortUse::New, ..options })
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<T::ListenerUpgrade, T::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}
