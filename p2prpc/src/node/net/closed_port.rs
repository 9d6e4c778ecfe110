//! Whether anybody is left at the UDP port of a QUIC connection that is silent.
//!
//! A process that is killed says nothing over UDP, and a stalled path is as silent. But where the process is gone its machine
//! answers that the port is closed, by ICMP, which a connected socket gets to hear and QUIC's own doesn't.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::net::UdpSocket;

/// How long an answer may take.
const WITHIN: Duration = Duration::from_millis(500);
/// No QUIC packet is so short: whoever is there ignores it.
const NOTHING_OF_QUIC: &[u8] = &[0];

/// True if the machine says that nobody has the port. It sends one datagram of one byte.
pub(in crate::node) async fn is_closed(address: &Multiaddr) -> bool {
    let Some(there) = udp_of(address) else { return false };
    let any: IpAddr = if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let ask = async {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
        socket.connect(there).await?;
        socket.send(NOTHING_OF_QUIC).await?;
        socket.recv(&mut [0; 1]).await
    };
    let answer = tokio::time::timeout(WITHIN, ask).await;
    matches!(answer, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

fn udp_of(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Udp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_nobody_has_is_closed_and_one_that_somebody_has_is_not() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address: Multiaddr =
            format!("/ip4/127.0.0.1/udp/{}/quic-v1", socket.local_addr().unwrap().port()).parse().unwrap();
        assert!(!is_closed(&address).await);
        drop(socket);
        assert!(is_closed(&address).await);
        assert!(!is_closed(&"/ip4/127.0.0.1/tcp/1".parse().unwrap()).await);
    }
}
