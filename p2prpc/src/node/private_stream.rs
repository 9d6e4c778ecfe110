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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for PrivateStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        if self.first.is_empty() {
            return Poll::Ready(read);
        }
        Poll::Ready(match read {
            Ok(0) => Err(another_key("it ended")),
            Ok(n) => {
                let (expected, rest) = self.first.split_at(n.min(self.first.len()));
                self.first = rest;
                if buffer.starts_with(expected) { Ok(n) } else { Err(another_key("other bytes")) }
            }
            Err(error) => Err(another_key(error)),
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PrivateStream<S> {
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
