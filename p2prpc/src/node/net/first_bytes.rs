//! The first bytes of a connection: they tell that the other end is behind another pre-shared key, or behind one at all.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};

/// Both ends begin with it: [multistream-select](https://github.com/multiformats/multistream-select).
const FIRST: &[u8] = b"\x13/multistream/1.0.0\n";

/// What it means that they don't come.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) enum Meaning {
    /// We speak behind a key.
    #[cfg(feature = "pnet")]
    AnotherKey,
    /// We speak behind none.
    NoKey,
}

/// The first bytes make no sense.
#[derive(Debug, thiserror::Error)]
enum Senseless {
    #[cfg(feature = "pnet")]
    #[error("nothing came that makes sense behind the pre-shared key ({0}): the peer has another key, or none")]
    AnotherKey(String),
    #[error(
        "nothing came that a libp2p peer begins with ({0}): a peer of a private network does so to those without its pre-shared key"
    )]
    NoKey(String),
}

impl Meaning {
    pub(in crate::node) fn of(self, kind: io::ErrorKind, why: impl ToString) -> io::Error {
        let why = why.to_string();
        let senseless = match self {
            #[cfg(feature = "pnet")]
            Meaning::AnotherKey => Senseless::AnotherKey(why),
            Meaning::NoKey => Senseless::NoKey(why),
        };
        io::Error::new(kind, senseless)
    }
}

/// A stream whose first bytes are looked at.
pub(in crate::node) struct FirstBytes<S> {
    io: S,
    /// What is still to come of [`FIRST`].
    first: &'static [u8],
    meaning: Meaning,
}

impl<S> FirstBytes<S> {
    pub(in crate::node) fn new(io: S, meaning: Meaning) -> Self {
        FirstBytes { io, first: FIRST, meaning }
    }

    /// An end that can't read what is sent to it hangs up, which may be seen while writing as well as while reading.
    fn blamed<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        if self.first.is_empty() { outcome } else { outcome.map_err(|error| self.meaning.of(error.kind(), error)) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for FirstBytes<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        if self.first.is_empty() {
            return Poll::Ready(read);
        }
        Poll::Ready(match self.blamed(read)? {
            0 => Err(self.meaning.of(io::ErrorKind::UnexpectedEof, "it ended")),
            n => {
                let (expected, rest) = self.first.split_at(n.min(self.first.len()));
                self.first = rest;
                if buffer.starts_with(expected) {
                    Ok(n)
                } else {
                    Err(self.meaning.of(io::ErrorKind::InvalidData, "other bytes"))
                }
            }
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for FirstBytes<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes));
        Poll::Ready(self.blamed(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.io).poll_flush(cx));
        Poll::Ready(self.blamed(flushed))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = ready!(Pin::new(&mut self.io).poll_close(cx));
        Poll::Ready(self.blamed(closed))
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    const HINT: &str = "without its pre-shared key";

    /// Both ends of a connection over TCP.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    #[tokio::test]
    async fn one_that_hangs_up_at_once_is_blamed_whichever_operation_sees_it() {
        let (one, other) = pair().await;
        let mut stream = FirstBytes::new(one.compat(), Meaning::NoKey);
        drop(other);
        let error = loop {
            // What the end that is gone gets is answered with a reset.
            if let Err(error) = stream.write_all(&[0; 1024]).await {
                break error;
            }
            if let Err(error) = stream.flush().await {
                break error;
            }
        };
        assert!(error.to_string().contains(HINT), "{error}");
        let error = stream.read(&mut [0; 16]).await.unwrap_err();
        assert!(error.to_string().contains(HINT), "{error}");
    }

    #[tokio::test]
    async fn other_bytes_are_blamed_and_the_right_ones_pass_however_they_are_cut() {
        let (one, mut other) = pair().await;
        let mut stream = FirstBytes::new(one.compat(), Meaning::NoKey);
        tokio::io::AsyncWriteExt::write_all(&mut other, b"\x13/multiHTTP/1.1").await.unwrap();
        let error = stream.read_exact(&mut [0; 16]).await.unwrap_err();
        assert!(error.to_string().contains(HINT), "{error}");

        let (one, mut other) = pair().await;
        let mut stream = FirstBytes::new(one.compat(), Meaning::NoKey);
        tokio::io::AsyncWriteExt::write_all(&mut other, &[FIRST, b"and more"].concat()).await.unwrap();
        let mut read = Vec::new();
        for _ in 0..FIRST.len() + 8 {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            read.extend(byte);
        }
        assert_eq!(read, [FIRST, b"and more"].concat());
        // Later ends are nobody's key's fault.
        drop(other);
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
    }
}
