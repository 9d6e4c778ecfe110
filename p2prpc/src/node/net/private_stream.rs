//! A connection behind a pre-shared key.

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::pnet::{PnetConfig, PnetError, PnetOutput, PreSharedKey};

use super::first_bytes::{FirstBytes, Meaning};

/// Nonces come first, and nobody has to compute them.
const NONCE_WITHIN: Duration = Duration::from_secs(5);

/// Exchange nonces.
pub(in crate::node) async fn handshake<S>(key: PreSharedKey, socket: S) -> io::Result<FirstBytes<PnetOutput<S>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: io::Error| Meaning::AnotherKey.of(error.kind(), error);
    match tokio::time::timeout(NONCE_WITHIN, PnetConfig::new(key).handshake(socket)).await {
        Ok(Ok(io)) => Ok(FirstBytes::new(io, Meaning::AnotherKey)),
        Ok(Err(PnetError::HandshakeError(error) | PnetError::IoError(error))) => Err(failed(error)),
        Err(_) => {
            let why = format!("no nonce within {} s", NONCE_WITHIN.as_secs());
            Err(Meaning::AnotherKey.of(io::ErrorKind::TimedOut, why))
        }
    }
}
