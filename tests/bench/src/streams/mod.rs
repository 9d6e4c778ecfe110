//! Server streams of p2prpc beside those of others: so many items of so many bytes, as fast as they are taken.

pub mod bare;
pub mod far;
#[cfg(feature = "irpc")]
pub mod irpc;
pub mod p2prpc;
#[cfg(feature = "tonic")]
pub mod tonic;

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

/// Why a peer could not be set up.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// One stream: so many items of so many bytes, all of them taken. Gives when the first one was there.
pub type Stream = Arc<dyn Fn(u64, usize) -> Pin<Box<dyn Future<Output = Instant> + Send>> + Send + Sync>;

/// A client with its server, in this process.
pub struct Pair {
    /// How it is called in the table.
    pub name: &'static str,
    /// Makes a stream.
    pub stream: Stream,
    /// What has to be there as long as it is used.
    pub keep: Box<dyn Any + Send>,
}

/// The same address, but that what is there is far away.
pub async fn far_away(address: &libp2p::Multiaddr) -> Result<libp2p::Multiaddr, Error> {
    use libp2p::multiaddr::Protocol;
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let far = far::link(([127, 0, 0, 1], port.ok_or("it isn't over TCP")?).into()).await?;
    let replaced = address.iter().map(|part| match part {
        Protocol::Tcp(_) => Protocol::Tcp(far.port()),
        other => other,
    });
    Ok(replaced.collect())
}
