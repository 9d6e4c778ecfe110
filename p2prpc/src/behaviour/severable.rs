//! A substream that ends when its connection begins to close.
//!
//! Yamux closes a connection only once its substreams are done, and a call stream isn't done while a call waits for its answer:
//! without this, calls on a connection that this node closes would learn of it at their deadline.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use futures::{AsyncRead, AsyncWrite};

/// The substreams of one connection, from the side of the connection.
#[derive(Debug, Default)]
pub(super) struct Severing {
    streams: Vec<Weak<Cut>>,
}

#[derive(Debug, Default)]
struct Cut {
    done: AtomicBool,
    reader: AtomicWaker,
}

impl Severing {
    /// One more substream.
    pub(super) fn watch<S>(&mut self, stream: S) -> Severable<S> {
        self.streams.retain(|cut| cut.strong_count() > 0);
        let cut = Arc::new(Cut::default());
        self.streams.push(Arc::downgrade(&cut));
        Severable { stream, cut }
    }

    /// End them all.
    pub(super) fn sever(&mut self) {
        for cut in self.streams.drain(..).filter_map(|cut| cut.upgrade()) {
            cut.done.store(true, Ordering::Release);
            cut.reader.wake();
        }
    }
}

impl Drop for Severing {
    fn drop(&mut self) {
        self.sever();
    }
}

/// A substream, from the side of who uses it.
#[derive(Debug)]
pub(super) struct Severable<S> {
    stream: S,
    cut: Arc<Cut>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Severable<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        // What came before the cut is still read.
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_pending() {
            self.cut.reader.register(cx.waker());
            if self.cut.done.load(Ordering::Acquire) {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection is closing")));
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Severable<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
