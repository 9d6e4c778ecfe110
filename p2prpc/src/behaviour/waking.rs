//! A substream whose connection hears of what comes on it, and of its end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};

use crate::peer::Connection;

/// Each byte that comes is a sign of life of the connection. Once the substream is gone it wakes the connection's task: over QUIC
/// nothing else does, and only when that task runs is it seen that no stream keeps the connection alive any more.
#[derive(Debug)]
pub(super) struct Waking<S> {
    io: S,
    wake: WakeOnDrop,
    /// It is for calls, and not for pings.
    calls: bool,
}

#[derive(Debug)]
struct WakeOnDrop(Arc<Connection>);

impl<S> Waking<S> {
    /// A substream for calls.
    pub(super) fn calls(io: S, connection: Arc<Connection>) -> Self {
        Waking { io, wake: WakeOnDrop(connection), calls: true }
    }

    /// A substream for pings.
    pub(super) fn pings(io: S, connection: Arc<Connection>) -> Self {
        Waking { io, wake: WakeOnDrop(connection), calls: false }
    }
}

// Fields are dropped in their order: the stream is gone by then.
impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.waker().wake();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Waking<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        match n {
            0 => {}
            _ if self.calls => self.wake.0.note_used(),
            _ => self.wake.0.note_pinged(),
        }
        Poll::Ready(Ok(n))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Waking<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
