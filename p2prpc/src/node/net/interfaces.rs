//! The addresses of this machine, as they come and go.

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use futures::StreamExt;
use if_watch::IfEvent;
use if_watch::tokio::IfWatcher;
use libp2p::Multiaddr;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;

/// The addresses that are there already are told one by one when the watching begins, for about this time.
const BEGINNING: Duration = Duration::from_millis(500);
/// After a failure the system is asked again this often.
const AGAIN: Duration = Duration::from_secs(5);

/// A change of this machine's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum Change {
    Up,
    /// What is bound to it is cut off.
    Down(IpAddr),
}

/// Tells of changes. Where the system can't be asked it tells of none.
#[derive(Debug)]
pub(in crate::node) struct Interfaces {
    watcher: Option<IfWatcher>,
    began: Instant,
}

impl Interfaces {
    pub(in crate::node) fn new() -> Self {
        let watcher = IfWatcher::new();
        if let Err(error) = &watcher {
            tracing::warn!(%error, "changes of this machine's network addresses can't be watched: lost connections are noticed late");
        }
        Interfaces { watcher: watcher.ok(), began: Instant::now() }
    }

    /// Cancel safe.
    pub(in crate::node) async fn next(&mut self) -> Change {
        let Some(watcher) = &mut self.watcher else { return pending().await };
        loop {
            match watcher.select_next_some().await {
                Ok(IfEvent::Down(net)) if !net.addr().is_loopback() => return Change::Down(net.addr()),
                Ok(IfEvent::Up(net)) if !net.addr().is_loopback() && self.began.elapsed() >= BEGINNING => {
                    return Change::Up;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "this machine's network addresses could not be read");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

/// The local address of a connection, by what it says or else by the route that leads there.
pub(in crate::node) fn local_ip(endpoint: &ConnectedPoint) -> Option<IpAddr> {
    let bound = match endpoint {
        ConnectedPoint::Listener { local_addr, .. } => ip_of(local_addr).filter(|ip| !ip.is_unspecified()),
        ConnectedPoint::Dialer { .. } => None,
    };
    bound.or_else(|| source_towards(ip_of(endpoint.get_remote_address())?).ok())
}

/// The address that packets to `remote` would come from now. Nothing is sent.
fn source_towards(remote: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    // Any port but 0 would do.
    socket.connect(SocketAddr::new(remote, 9))?;
    Ok(socket.local_addr()?.ip())
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_address_is_that_of_the_listener_or_of_the_route() {
        let address = |text: &str| text.parse::<Multiaddr>().unwrap();
        let bound = ConnectedPoint::Listener {
            local_addr: address("/ip4/10.1.2.3/tcp/1"),
            send_back_addr: address("/ip4/10.1.2.4/tcp/2"),
        };
        assert_eq!(local_ip(&bound), Some(IpAddr::from([10, 1, 2, 3])));
        let wildcard = ConnectedPoint::Listener {
            local_addr: address("/ip4/0.0.0.0/udp/1/quic-v1"),
            send_back_addr: address("/ip4/127.0.0.1/udp/2/quic-v1"),
        };
        assert_eq!(local_ip(&wildcard), Some(IpAddr::from([127, 0, 0, 1])));
    }
}
