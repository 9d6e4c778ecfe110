//! One connection: opens and accepts call streams, and hands them over. No call passes through here.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound, ProtocolsChange,
};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol};
use libp2p::{Multiaddr, Stream};

use super::core::Core;
use super::gorpc::GorpcConnection;
use super::ping::Responder;
use super::prober::{Prober, Step};
use super::protocols::{Protocols, Spoken};
use super::streams::StreamConnection;
use super::waking::Waking;
use crate::call::Dialect;
use crate::error::{ErrorKind, RpcError};
use crate::peer::{ClientStream, Connection, PeerSession, ServerStream};

/// What the behaviour asks of a connection.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum ToHandler {
    /// Open a call stream.
    Open,
    /// Stay even without calls, or don't.
    Pin(bool),
}

/// What a connection tells the behaviour.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub enum FromHandler {
    /// The peer speaks the application's protocol, in this dialect.
    Supported(Dialect),
    /// The call stream that was asked for is open.
    Opened,
    /// No call stream could be opened.
    OpenFailed(RpcError),
    /// The connection was asked for a sign of life so long ago, and is silent.
    Silent(Duration),
    /// It has given a sign of life after it had been silent.
    Alive,
}

/// What a substream is opened for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// All calls to come, if the peer speaks our own dialect.
    Calls,
    /// One call in gorpc.
    GorpcCall,
    /// Streaming calls, one after the other.
    Stream,
    /// Pings.
    Ping,
}

/// The [`ConnectionHandler`] of [`Behaviour`](super::Behaviour).
pub struct Handler {
    core: Weak<Core>,
    session: Arc<PeerSession>,
    connection: Arc<Connection>,
    remote: Option<IpAddr>,
    protocols: Protocols,
    prober: Prober<Waking<Stream>>,
    pings: Responder<Waking<Stream>>,
    gorpc: Option<GorpcConnection>,
    streams: StreamConnection,
    open: bool,
    opening: bool,
    pinned: bool,
    supported: bool,
    tell: VecDeque<FromHandler>,
    waker: Option<Waker>,
    calling: Vec<Weak<ClientStream>>,
    serving: Vec<Weak<ServerStream>>,
}

type Event = ConnectionHandlerEvent<Protocols, Purpose, FromHandler>;

impl Handler {
    pub(super) fn new(
        core: Weak<Core>,
        session: Arc<PeerSession>,
        connection: Arc<Connection>,
        protocols: Protocols,
        ping_interval: Option<Duration>,
        pinned: bool,
    ) -> Self {
        session.connected(connection.clone());
        Handler {
            core,
            gorpc: GorpcConnection::new(session.clone(), connection.clone()),
            streams: StreamConnection::new(session.clone(), connection.clone()),
            session,
            remote: ip_of(connection.remote()),
            protocols,
            prober: Prober::new(connection.clone(), ping_interval),
            pings: Responder::new(),
            connection,
            open: false,
            opening: false,
            pinned,
            supported: false,
            tell: VecDeque::new(),
            waker: None,
            calling: Vec::new(),
            serving: Vec::new(),
        }
    }

    fn note_supported(&mut self) {
        if !std::mem::replace(&mut self.supported, true) {
            self.tell(FromHandler::Supported(Dialect::Native));
        }
    }

    /// What the peer says that it speaks now and didn't before.
    fn note_protocols(&mut self, native: bool, gorpc: bool) {
        if let Some(connection) = &mut self.gorpc
            && connection.note_protocols(native, gorpc)
        {
            self.tell(FromHandler::Supported(Dialect::Gorpc));
        }
        if native {
            self.note_supported();
        }
    }

    /// What to propose for a stream of all calls to come: either, as long as it isn't known what the peer speaks.
    fn proposal(&self) -> Protocols {
        match &self.gorpc {
            Some(connection) if connection.proposes_both() => self.protocols.calls(),
            _ => self.protocols.only(Dialect::Native),
        }
    }

    fn opened(&mut self, purpose: Purpose, dialect: Dialect, stream: Stream) {
        let stream = Waking::calls(stream, self.connection.clone());
        match (purpose, dialect, &self.gorpc) {
            (Purpose::Ping | Purpose::Stream, ..) => {}
            (Purpose::GorpcCall, _, Some(connection)) => connection.opened(Ok(Box::new(stream))),
            (Purpose::Calls, Dialect::Gorpc, Some(connection)) => {
                self.opening = false;
                connection.decided(stream);
                self.tell(FromHandler::Opened);
            }
            _ => {
                self.opening = false;
                remember(&mut self.calling, self.session.attach(&self.connection, stream));
                self.tell(FromHandler::Opened);
            }
        }
    }

    /// A substream that doesn't keep the connection alive.
    fn uncounted(&self, mut stream: Stream) -> Waking<Stream> {
        stream.ignore_for_keep_alive();
        Waking::pings(stream, self.connection.clone())
    }

    fn tell(&mut self, tell: FromHandler) {
        self.tell.push_back(tell);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn accepted(&mut self, dialect: Dialect, stream: Stream) {
        if dialect == Dialect::Native {
            self.note_supported();
        }
        let Some(core) = self.core.upgrade() else { return };
        let stream = Waking::calls(stream, self.connection.clone());
        if dialect == Dialect::Gorpc {
            if let Some(connection) = &mut self.gorpc {
                connection.accept(core.server(), self.remote, stream);
            }
            return;
        }
        remember(&mut self.serving, core.accept(self.session.peer(), self.remote, self.connection.clone(), stream));
    }

    fn open_failed(&mut self, purpose: Purpose, error: StreamUpgradeError<Infallible>) {
        if let Purpose::Ping = purpose {
            return self.prober.open_failed(matches!(error, StreamUpgradeError::NegotiationFailed));
        }
        let error = match error {
            StreamUpgradeError::NegotiationFailed => RpcError::never_sent(ErrorKind::NotSupported, ""),
            StreamUpgradeError::Timeout => {
                RpcError::never_sent(ErrorKind::ConnectionLost, "the peer did not answer when a stream was opened")
            }
            StreamUpgradeError::Io(error) => RpcError::never_sent(ErrorKind::ConnectionLost, &error).because(error),
            StreamUpgradeError::Apply(never) => match never {},
        };
        match purpose {
            Purpose::Calls => {
                self.opening = false;
                self.tell(FromHandler::OpenFailed(error));
            }
            Purpose::GorpcCall => {
                if let Some(connection) = &self.gorpc {
                    connection.opened(Err(error));
                }
            }
            Purpose::Stream => self.streams.opened(Err(error)),
            Purpose::Ping => {}
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = ToHandler;
    type ToBehaviour = FromHandler;
    type InboundProtocol = Protocols;
    type OutboundProtocol = Protocols;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Purpose;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(self.protocols.clone(), ())
    }

    fn connection_keep_alive(&self) -> bool {
        let opening = self.opening
            || self.streams.is_opening()
            || self.gorpc.as_ref().is_some_and(|connection| connection.is_opening());
        self.pinned || self.open || opening
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(tell) = self.tell.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(tell));
        }
        if std::mem::take(&mut self.open) && !self.opening {
            self.opening = true;
            let protocol = SubstreamProtocol::new(self.proposal(), Purpose::Calls);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.connection.waker().register(cx.waker());
        if self.gorpc.as_ref().is_some_and(|connection| connection.starts_opening()) {
            let protocol = SubstreamProtocol::new(self.protocols.only(Dialect::Gorpc), Purpose::GorpcCall);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        if self.streams.starts_opening() {
            let protocol = SubstreamProtocol::new(self.protocols.streams(), Purpose::Stream);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.pings.poll(cx);
        let (calling, streams) = (&self.calling, &self.streams);
        let in_calls =
            || calling.iter().filter_map(Weak::upgrade).any(|stream| stream.has_calls()) || streams.has_calls();
        if let Poll::Ready(step) = self.prober.poll(cx, in_calls) {
            return Poll::Ready(match step {
                Step::Open => ConnectionHandlerEvent::OutboundSubstreamRequest {
                    protocol: SubstreamProtocol::new(Protocols::ping(), Purpose::Ping),
                },
                Step::Silent(time) => ConnectionHandlerEvent::NotifyBehaviour(FromHandler::Silent(time)),
                Step::Alive => ConnectionHandlerEvent::NotifyBehaviour(FromHandler::Alive),
            });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, ask: ToHandler) {
        match ask {
            ToHandler::Open => self.open = true,
            ToHandler::Pin(pinned) => self.pinned = pinned,
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Purpose>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (spoken, stream),
                info: purpose,
            }) => match spoken {
                Spoken::Calls(dialect) => self.opened(purpose, dialect, stream),
                Spoken::Stream => {
                    let stream = Waking::calls(stream, self.connection.clone());
                    self.streams.opened(Ok(Box::new(stream)));
                }
                Spoken::Ping => self.prober.opened(self.uncounted(stream)),
            },
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (spoken, stream), .. }) => {
                match spoken {
                    Spoken::Calls(dialect) => self.accepted(dialect, stream),
                    Spoken::Stream => {
                        if let Some(core) = self.core.upgrade() {
                            let stream = Waking::calls(stream, self.connection.clone());
                            self.streams.accept(core.server(), self.remote, stream);
                        }
                    }
                    Spoken::Ping => self.pings.accept(self.uncounted(stream)),
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, info: purpose }) => {
                self.open_failed(purpose, error);
            }
            ConnectionEvent::RemoteProtocolsChange(ProtocolsChange::Added(added)) => {
                let spoken =
                    |dialect| added.clone().any(|protocol| self.protocols.dialect_of(protocol) == Some(dialect));
                self.note_protocols(spoken(Dialect::Native), spoken(Dialect::Gorpc));
            }
            _ => {}
        }
    }
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    })
}

fn remember<T>(streams: &mut Vec<Weak<T>>, new: Option<Arc<T>>) {
    streams.retain(|stream| stream.strong_count() > 0);
    streams.extend(new.as_ref().map(Arc::downgrade));
}

/// The connection is no more. Yamux doesn't wake those who read from a connection that was closed on this side.
impl Drop for Handler {
    fn drop(&mut self) {
        self.session.disconnected(&self.connection);
        self.calling.iter().filter_map(Weak::upgrade).for_each(|stream| stream.lose());
        self.serving.iter().filter_map(Weak::upgrade).for_each(|stream| stream.lose());
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("session", &self.session).finish_non_exhaustive()
    }
}
