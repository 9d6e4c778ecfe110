//! One connection: opens and accepts call streams, and hands them over. No call passes through here.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use futures::task::AtomicWaker;
use libp2p::StreamProtocol;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound, ProtocolsChange,
};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol};

use super::core::Core;
use super::waking::Waking;
use crate::connection::{CallStream, PeerLink, ServedStream};
use crate::error::{ErrorKind, RpcError};

/// What the behaviour asks of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    /// Open a call stream.
    Open,
    /// Stay even without calls, or don't.
    Pin(bool),
}

/// What a connection tells the behaviour.
#[derive(Clone, Debug)]
pub enum Tell {
    /// The peer speaks the protocol.
    Supported,
    /// The call stream that was asked for is open.
    Opened,
    /// No call stream could be opened.
    OpenFailed(RpcError),
}

/// The [`ConnectionHandler`] of [`Behaviour`](super::Behaviour).
pub struct Handler {
    core: Weak<Core>,
    link: Arc<PeerLink>,
    remote: Option<IpAddr>,
    protocol: StreamProtocol,
    open: bool,
    opening: bool,
    pinned: bool,
    supported: bool,
    tell: VecDeque<Tell>,
    waker: Option<Waker>,
    /// Wakes the connection when a stream has ended.
    ended: Arc<AtomicWaker>,
    calling: Vec<Weak<CallStream>>,
    serving: Vec<Weak<ServedStream>>,
}

type Event = ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, (), Tell>;

impl Handler {
    pub(super) fn new(
        core: Weak<Core>,
        link: Arc<PeerLink>,
        remote: Option<IpAddr>,
        protocol: StreamProtocol,
        pinned: bool,
    ) -> Self {
        Handler {
            core,
            link,
            remote,
            protocol,
            open: false,
            opening: false,
            pinned,
            supported: false,
            tell: VecDeque::new(),
            waker: None,
            ended: Arc::default(),
            calling: Vec::new(),
            serving: Vec::new(),
        }
    }

    fn note_supported(&mut self) {
        if !std::mem::replace(&mut self.supported, true) {
            self.tell(Tell::Supported);
        }
    }

    fn tell(&mut self, tell: Tell) {
        self.tell.push_back(tell);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn open_failed(&mut self, error: StreamUpgradeError<std::convert::Infallible>) {
        self.opening = false;
        let error = match error {
            StreamUpgradeError::NegotiationFailed => RpcError::never_sent(ErrorKind::NotSupported, ""),
            StreamUpgradeError::Timeout => {
                RpcError::never_sent(ErrorKind::ConnectionLost, "the peer did not answer when a stream was opened")
            }
            StreamUpgradeError::Io(error) => RpcError::never_sent(ErrorKind::ConnectionLost, error),
            StreamUpgradeError::Apply(never) => match never {},
        };
        self.tell(Tell::OpenFailed(error));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Ask;
    type ToBehaviour = Tell;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.pinned || self.open || self.opening
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(tell) = self.tell.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(tell));
        }
        if std::mem::take(&mut self.open) && !self.opening {
            self.opening = true;
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.ended.register(cx.waker());
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, ask: Ask) {
        match ask {
            Ask::Open => self.open = true,
            Ask::Pin(pinned) => self.pinned = pinned,
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, .. }) => {
                self.opening = false;
                let stream = Waking::new(stream, self.ended.clone());
                remember(&mut self.calling, self.link.attach(stream));
                self.tell(Tell::Opened);
            }
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. }) => {
                self.note_supported();
                if let Some(core) = self.core.upgrade() {
                    let stream = Waking::new(stream, self.ended.clone());
                    remember(&mut self.serving, core.accept(&self.link, self.remote, stream));
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => self.open_failed(error),
            ConnectionEvent::RemoteProtocolsChange(ProtocolsChange::Added(added))
                if added.clone().any(|protocol| *protocol == self.protocol) =>
            {
                self.note_supported();
            }
            _ => {}
        }
    }
}

fn remember<T>(streams: &mut Vec<Weak<T>>, new: Option<Arc<T>>) {
    streams.retain(|stream| stream.strong_count() > 0);
    streams.extend(new.as_ref().map(Arc::downgrade));
}

/// The connection is no more. Yamux doesn't wake those who read from a connection that was closed on this side.
impl Drop for Handler {
    fn drop(&mut self) {
        self.calling.iter().filter_map(Weak::upgrade).for_each(|stream| stream.lose());
        self.serving.iter().filter_map(Weak::upgrade).for_each(|stream| stream.lose());
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("link", &self.link).finish_non_exhaustive()
    }
}
