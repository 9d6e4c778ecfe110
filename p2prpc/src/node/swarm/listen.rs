//! Ports: free or not.

use std::io;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::node::error::StartError;
use crate::node::net::address::{Kind, ListenAddress};

/// A turn is over in no time: one that isn't within this is somebody's who keeps it for himself, and isn't waited for.
const TURN_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// While it is held no other node of this machine looks whether the port is free, or takes it.
///
/// Between the look and the taking another one could take it too: libp2p binds TCP with `SO_REUSEPORT`. Only Linux has names of
/// sockets that end with their process; elsewhere the moment stays.
#[derive(Debug)]
pub(super) struct Turn {
    #[cfg(target_os = "linux")]
    _name: Option<std::os::unix::net::UnixListener>,
}

/// The turn to take the port of this address, when it comes.
pub(super) async fn turn(listen: &ListenAddress) -> Turn {
    let until = tokio::time::Instant::now() + TURN_WITHIN;
    loop {
        let (turn, taken) = Turn::try_take(listen.socket.port());
        if !taken || tokio::time::Instant::now() >= until {
            return turn;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Turn {
    /// And if another one has it.
    #[cfg(target_os = "linux")]
    fn try_take(port: u16) -> (Turn, bool) {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixListener};
        if port == 0 {
            return (Turn { _name: None }, false);
        }
        let name = SocketAddr::from_abstract_name(format!("p2prpc/listen/{port}"));
        match name.and_then(|name| UnixListener::bind_addr(&name)) {
            Ok(name) => (Turn { _name: Some(name) }, false),
            Err(error) => (Turn { _name: None }, error.kind() == io::ErrorKind::AddrInUse),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn try_take(_port: u16) -> (Turn, bool) {
        (Turn {}, false)
    }
}

/// Fails if another program, or another node of this one, listens on the port already.
///
/// libp2p binds TCP with `SO_REUSEPORT`: it would share the port silently, and each of the two would get some of the connections.
pub(super) fn probe(listen: &ListenAddress) -> Result<(), StartError> {
    bind(listen).map_err(|error| failed(listen, &error))
}

/// As libp2p does, but for `SO_REUSEPORT`.
fn bind(listen: &ListenAddress) -> io::Result<()> {
    let (kind, protocol) = match listen.kind {
        Kind::Tcp => (Type::STREAM, Protocol::TCP),
        Kind::Quic => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(listen.socket), kind, Some(protocol))?;
    if listen.socket.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Elsewhere it would let the socket steal the port.
    if cfg!(unix) && listen.kind == Kind::Tcp {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&listen.socket.into())?;
    match listen.kind {
        Kind::Tcp => socket.listen(1),
        Kind::Quic => Ok(()),
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
