//! Connections: addresses, transports, names, dials in turn, and who is let in.

pub(super) mod address;
pub(super) mod address_book;
pub(super) mod admission;
pub(super) mod closed_port;
pub(super) mod connection_limits;
pub(super) mod connections;
mod first_bytes;
pub(super) mod handshakes;
pub(super) mod identify;
pub(super) mod interfaces;
#[cfg(feature = "mdns")]
pub(super) mod mdns;
mod named;
#[cfg(feature = "pnet")]
pub(super) mod private_network;
#[cfg(feature = "pnet")]
mod private_stream;
pub(super) mod reachability;
pub(super) mod resolver;
pub(super) mod staggered;
pub(super) mod transport;
