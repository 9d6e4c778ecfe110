//! A transport that dials names.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, Either};
use futures::stream::{FuturesUnordered, StreamExt};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, PeerId, Transport};
use parking_lot::Mutex;

use super::resolver::{Resolver, name_in};

/// The lead that one address of a name has over the next.
const LEAD: Duration = Duration::from_millis(250);

type Inner = Boxed<(PeerId, StreamMuxerBox)>;
type Dialled = io::Result<(PeerId, StreamMuxerBox)>;

/// Looks up names at each dial, and hands everything else through.
pub(in crate::node) struct Named {
    inner: Arc<Mutex<Inner>>,
    resolver: Arc<Resolver>,
}

impl Named {
    pub(in crate::node) fn new(inner: Inner, resolver: Arc<Resolver>) -> Self {
        Named { inner: Arc::new(Mutex::new(inner)), resolver }
    }
}

impl Transport for Named {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = <Inner as Transport>::ListenerUpgrade;
    type Dial = Either<<Inner as Transport>::Dial, BoxFuture<'static, Dialled>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.lock().listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.lock().remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        if name_in(&address).is_none() {
            return self.inner.lock().dial(address, options).map(Either::Left);
        }
        let (inner, resolver) = (self.inner.clone(), self.resolver.clone());
        Ok(Either::Right(Box::pin(async move {
            let resolved = resolver.resolve(&address).await.map_err(io::Error::other)?;
            tracing::debug!(%address, ?resolved, "a name was looked up");
            dial_in_turn(&inner, resolved, options).await
        })))
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut *self.inner.lock()).poll(cx)
    }
}

/// The first of these addresses that answers. Each is dialled a moment after the one before it, or as soon as one has failed.
async fn dial_in_turn(inner: &Mutex<Inner>, addresses: Vec<Multiaddr>, options: DialOpts) -> Dialled {
    let mut addresses = addresses.into_iter();
    let mut dials = FuturesUnordered::new();
    let mut failure = None;
    loop {
        let next = addresses.next();
        let is_last = next.is_none();
        if let Some(address) = next {
            match inner.lock().dial(address, options) {
                Ok(dial) => dials.push(dial),
                Err(TransportError::Other(error)) => failure = Some(error),
                Err(TransportError::MultiaddrNotSupported(address)) => {
                    let reason = format!("its name stands for {address}, which this node can't dial");
                    failure = Some(io::Error::new(io::ErrorKind::Unsupported, reason));
                }
            }
        }
        let outcome = if is_last {
            dials.next().await
        } else {
            match tokio::time::timeout(LEAD, dials.next()).await {
                Ok(Some(outcome)) => Some(outcome),
                Ok(None) | Err(_) => continue,
            }
        };
        match outcome {
            Some(Ok(connection)) => return Ok(connection),
            Some(Err(error)) => failure = Some(error),
            None => return Err(failure.unwrap_or_else(|| io::Error::other("the name has no address"))),
        }
    }
}
