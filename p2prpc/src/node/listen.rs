//! Ports: free or not.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use super::address::{Kind, ListenAddress};
use super::error::StartError;

/// Fails if another program, or another node of this one, listens on the port already.
///
/// libp2p binds TCP with `SO_REUSEPORT`: it would share the port silently, and each of the two would get some of the connections.
pub(super) fn probe(listen: &ListenAddress) -> Result<(), StartError> {
    bind(listen.kind, listen.socket).map_err(|error| failed(listen, &error))
}

fn bind(kind: Kind, socket: SocketAddr) -> io::Result<()> {
    match kind {
        Kind::Tcp => TcpListener::bind(socket).map(drop),
        Kind::Quic => UdpSocket::bind(socket).map(drop),
    }
}

pub(super) fn failed(listen: &ListenAddress, error: &io::Error) -> StartError {
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {} is in use; choose another, or 0 for any free one", listen.socket.port())
        }
        io::ErrorKind::AddrNotAvailable => format!("this machine has no address {}", listen.socket.ip()),
        io::ErrorKind::PermissionDenied => {
            format!("this user may not listen on port {}; choose one of 1024 or above", listen.socket.port())
        }
        _ => error.to_string(),
    };
    StartError::Listen { address: listen.address.clone(), reason }
}
