//! The peers that are compared, each in its own file.

mod floor;
#[cfg(feature = "gorpc")]
pub mod gorpc;
#[cfg(feature = "irpc")]
pub mod irpc;
#[cfg(feature = "gorpc")]
mod mixed;
pub mod p2prpc;
#[cfg(feature = "request-response")]
pub mod request_response;
#[cfg(feature = "tarpc")]
pub mod tarpc;
#[cfg(feature = "tonic")]
pub mod tonic;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

/// Why a peer could not be started.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// One call: the message comes back. A call that fails panics, for the figures would mean nothing.
pub type Echo = Arc<dyn Fn(String) -> BoxFuture<'static, String> + Send + Sync>;

/// What is under a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum Transport {
    Tcp,
    Quic,
}

impl Transport {
    /// As it is written in records.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Quic => "quic",
        }
    }

    /// A free port of loopback.
    pub fn loopback(self) -> &'static str {
        match self {
            Transport::Tcp => "/ip4/127.0.0.1/tcp/0",
            Transport::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        }
    }
}

/// A running end. It ends when it is dropped.
pub struct Server {
    /// Where clients find it.
    pub address: String,
    /// What keeps it alive.
    pub keep: Box<dyn Any + Send>,
}

/// The other end, connected.
pub struct Client {
    /// What callers call.
    pub echo: Echo,
    /// What keeps it alive.
    pub keep: Box<dyn Any + Send>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// One that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// As it is written in records.
    pub name: &'static str,
    /// Which of several ways to use it; empty if there is one.
    pub variant: &'static str,
    /// What is under it.
    pub transport: Transport,
    /// It is a program of its own, and no worker runs it.
    pub foreign: bool,
}

const fn peer(name: &'static str, variant: &'static str, transport: Transport) -> Peer {
    Peer { name, variant, transport, foreign: false }
}

/// Those that are compiled in, p2prpc first.
pub fn all() -> Vec<Peer> {
    use Transport::{Quic, Tcp};
    let mut all = vec![peer("p2prpc", "", Tcp), peer("p2prpc", "", Quic)];
    #[cfg(feature = "request-response")]
    all.extend([
        peer("request_response", "bare", Tcp),
        peer("request_response", "bare", Quic),
        peer("request_response", "cbor", Tcp),
        peer("request_response", "cbor", Quic),
    ]);
    #[cfg(feature = "irpc")]
    all.push(peer("irpc", "", Quic));
    #[cfg(feature = "tarpc")]
    all.push(peer("tarpc", "", Tcp));
    #[cfg(feature = "tonic")]
    all.push(peer("tonic", "", Tcp));
    #[cfg(feature = "gorpc")]
    for transport in [Tcp, Quic] {
        all.push(Peer { foreign: true, ..peer("gorpc", "", transport) });
    }
    all.extend([
        peer("floor_raw_tcp", "", Tcp),
        peer("floor_substream", "", Tcp),
        peer("floor_substream_task", "", Tcp),
    ]);
    all
}

/// A Rust client of a Go server, and a Go client of a Rust server. Each end is a process of its own.
pub const MIXED: [Peer; 2] = [peer("p2prpc_to_gorpc", "", Transport::Tcp), peer("gorpc_to_p2prpc", "", Transport::Tcp)];

impl Peer {
    /// As a worker is told of it.
    pub fn key(self) -> String {
        format!("{}/{}/{}", self.name, self.variant, self.transport.name())
    }

    /// The one of that key.
    pub fn of_key(key: &str) -> Option<Peer> {
        all().into_iter().chain(MIXED).find(|peer| peer.key() == key)
    }

    /// For people.
    pub fn title(self) -> String {
        let transport = match (self.name, self.transport) {
            ("floor_raw_tcp" | "tarpc", _) => "TCP",
            ("tonic", _) => "TCP+TLS",
            ("irpc", _) => "iroh's QUIC",
            (_, Transport::Tcp) => "TCP+Noise+Yamux",
            (_, Transport::Quic) => "QUIC",
        };
        let variant = if self.variant.is_empty() { String::new() } else { format!(" ({})", self.variant) };
        format!("{}{variant}, {transport}", self.name)
    }

    /// Start the end that answers.
    ///
    /// # Errors
    /// If it can't be started.
    pub async fn serve(self) -> Result<Server, Error> {
        let transport = self.transport;
        match (self.name, self.variant) {
            ("p2prpc", _) => p2prpc::serve(transport).await,
            #[cfg(feature = "request-response")]
            ("request_response", "bare") => request_response::serve::<request_response::Bare>(transport).await,
            #[cfg(feature = "request-response")]
            ("request_response", _) => request_response::serve::<request_response::Cbor>(transport).await,
            #[cfg(feature = "irpc")]
            ("irpc", _) => irpc::serve().await,
            #[cfg(feature = "tarpc")]
            ("tarpc", _) => tarpc::serve().await,
            #[cfg(feature = "tonic")]
            ("tonic", _) => tonic::serve().await,
            #[cfg(feature = "gorpc")]
            ("gorpc_to_p2prpc", _) => mixed::serve(transport).await,
            ("floor_raw_tcp", _) => floor::raw::serve().await,
            ("floor_substream", _) => floor::substream::serve(false).await,
            ("floor_substream_task", _) => floor::substream::serve(true).await,
            _ => Err(format!("no worker runs {}", self.key()).into()),
        }
    }

    /// Start the end that calls.
    ///
    /// # Errors
    /// If it can't be started or doesn't get through.
    pub async fn connect(self, address: &str) -> Result<Client, Error> {
        let transport = self.transport;
        match (self.name, self.variant) {
            ("p2prpc", _) => p2prpc::connect(transport, address).await,
            #[cfg(feature = "request-response")]
            ("request_response", "bare") => {
                request_response::connect::<request_response::Bare>(transport, address).await
            }
            #[cfg(feature = "request-response")]
            ("request_response", _) => request_response::connect::<request_response::Cbor>(transport, address).await,
            #[cfg(feature = "irpc")]
            ("irpc", _) => irpc::connect(address).await,
            #[cfg(feature = "tarpc")]
            ("tarpc", _) => tarpc::connect(address).await,
            #[cfg(feature = "tonic")]
            ("tonic", _) => tonic::connect(address).await,
            #[cfg(feature = "gorpc")]
            ("p2prpc_to_gorpc", _) => mixed::connect(transport, address).await,
            ("floor_raw_tcp", _) => floor::raw::connect(address).await,
            ("floor_substream" | "floor_substream_task", _) => floor::substream::connect(address).await,
            _ => Err(format!("no worker runs {}", self.key()).into()),
        }
    }
}
