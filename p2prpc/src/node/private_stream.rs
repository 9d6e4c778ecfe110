//! A connection behind a pre-shared key, and what tells that the other end has another one: its first bytes make no sense.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::pnet::{PnetConfig, PnetError, PnetOutput, PreSharedKey};

/// Both ends begin with it: [multistream-select](https://github.com/multiformats/multistream-select).
const FIRST: &[u8] = b"\x13/multistream/1.0.0\n";
/// Nonces come first, and nobody has to compute them.
const NONCE_WITHIN: Duration = Duration::from_secs(5);

/// What comes out behind the key makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("nothing came that makes sense behind the pre-shared key ({0}): the peer has another key, or none")]
struct AnotherKey(String);

fn another_key(why: impl ToString) -> io::Error {
    io::Error::other(AnotherKey(why.to_string()))
}

/// Exchange nonces.
pub(super) async fn handshake<S>(key: PreSharedKey, socket: S) -> io::Result<PrivateStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match tokio::time::timeout(NONCE_WITHIN, PnetConfig::new(key).handshake(socket)).await {
        Ok(Ok(io)) => Ok(PrivateStream { io, first: FIRST }),
        Ok(Err(PnetError::HandshakeError(error) | PnetError::IoError(error))) => Err(another_key(error)),
        Err(_) => Err(another_key(format_args!("no nonce within {} s", NONCE_WITHIN.as_secs()))),
    }
}

pub(super) struct PrivateStream<S> {
    io: PnetOutput<S>,
    /// What is still to come of [`FIRST`].
    first: &'static [u8],
}

impl<S> PrivateStream<S> {
    /// An end that can't read what is sent to it hangs up, which may be seen while writing as well as while reading.
    fn blamed<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        if self.first.is_empty() { outcome } else { outcome.map_err(another_key) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for PrivateStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        if self.first.is_empty() {
            return Poll::Ready(read);
        }
        Poll::Ready(match self.blamed(read)? {
            0 => Err(another_key("it ended")),
            n => {
                let (expected, rest) = self.first.split_at(n.min(self.first.len()));
                self.first = rest;
                if buffer.starts_with(expected) { Ok(n) } else { Err(another_key("other bytes")) }
            }
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PrivateStream<S> {
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

    /// Both ends of a connection over TCP.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    #[tokio::test]
    async fn a_peer_that_hangs_up_at_once_has_another_key_whichever_operation_sees_it() {
        let (one, other) = pair().await;
        let gone = async {
            drop(handshake(PreSharedKey::new([2; 32]), other.compat()).await.unwrap());
        };
        let (stream, ()) = tokio::join!(handshake(PreSharedKey::new([1; 32]), one.compat()), gone);
        let mut stream = stream.unwrap();
        let error = loop {
            // What the end that is gone gets is answered with a reset.
            if let Err(error) = stream.write_all(&[0; 1024]).await {
                break error;
            }
            if let Err(error) = stream.flush().await {
                break error;
            }
        };
        assert!(error.to_string().contains("the peer has another key, or none"), "{error}");
        let error = stream.read(&mut [0; 16]).await.unwrap_err();
        assert!(error.to_string().contains("the peer has another key, or none"), "{error}");
    }
}
