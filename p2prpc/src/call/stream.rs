//! A substream for streaming calls, as it is handed to whoever makes one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use futures::task::AtomicWaker;
use futures::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::error::RpcError;
use crate::framing::Messages;

/// Both directions of a substream.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// Where substreams go that may carry another call.
pub(crate) trait StreamHome: Send + Sync {
    fn keep(&self, stream: OpenedStream);
}

/// A place among the streams at once to one peer, given back when it is dropped.
pub(crate) type StreamPermit = Box<dyn Send + Sync>;

/// A substream that carries one streaming call after the other. Dropping it resets it.
pub(crate) struct OpenedStream {
    pub(crate) io: Box<dyn Duplex>,
    pub(crate) messages: Messages,
    /// Our own `Hello` is written.
    pub(crate) greeted: bool,
    /// The other end's has come.
    pub(crate) was_greeted: bool,
    pub(crate) last_id: u64,
    /// Its connection is no more: not every substream notices.
    pub(crate) lost: CancellationToken,
    /// Of the call that it carries.
    pub(crate) permit: Option<StreamPermit>,
    pub(crate) home: Option<Weak<dyn StreamHome>>,
    /// Wakes the task of its connection, which is to know that a call is under way.
    pub(crate) waker: Option<Arc<AtomicWaker>>,
    pub(crate) hello: Arc<[u8]>,
    pub(crate) max_message: usize,
}

impl OpenedStream {
    /// A call is over that left nothing behind: the substream may carry another.
    pub(crate) fn give_back(mut self) {
        self.permit = None;
        if let Some(home) = self.home.as_ref().and_then(Weak::upgrade) {
            home.keep(self);
        }
    }
}

impl fmt::Debug for OpenedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedStream").field("last_id", &self.last_id).finish_non_exhaustive()
    }
}

/// A substream to come.
pub(crate) type Opening = Pin<Box<dyn Future<Output = Result<OpenedStream, RpcError>> + Send>>;
