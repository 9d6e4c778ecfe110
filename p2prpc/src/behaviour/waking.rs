//! A substream whose end its connection hears of.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use futures::{AsyncRead, AsyncWrite};

/// Wakes its connection's task once it is gone. Over QUIC nothing else does, and only when that task runs is it seen that no
/// stream keeps the connection alive any more.
pub(super) struct Waking<S> {
    io: S,
    _wake: WakeOnDrop,
}

struct WakeOnDrop(Arc<AtomicWaker>);

impl<S> Waking<S> {
    pub(super) fn new(io: S, connection: Arc<AtomicWaker>) -> Self {
        Waking { io, _wake: WakeOnDrop(connection) }
    }
}

// Fields are dropped in their order: the stream is gone by then.
impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Waking<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
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
