//! Addresses as users give them, and what a node of this build can do with each.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// An address, or a text that should be one: a [`Multiaddr`], a `&str` or a `String`.
///
/// A text that isn't an address is reported, by its own words, by whatever it was given to.
pub trait IntoAddress: sealed::Sealed {
    /// The address.
    ///
    /// # Errors
    /// If a text isn't one.
    fn into_address(self) -> Result<Multiaddr, InvalidAddress>;
}

impl IntoAddress for Multiaddr {
    fn into_address(self) -> Result<Multiaddr, InvalidAddress> {
        Ok(self)
    }
}

impl IntoAddress for &Multiaddr {
    fn into_address(self) -> Result<Multiaddr, InvalidAddress> {
        Ok(self.clone())
    }
}

impl IntoAddress for &str {
    fn into_address(self) -> Result<Multiaddr, InvalidAddress> {
        let shape = "it is not a multiaddr like /ip4/192.0.2.1/tcp/4001";
        self.parse().map_err(|error| match meant(self) {
            Some(meant) => InvalidAddress::new(self, format_args!("{shape}: did you mean {meant}?")),
            None => InvalidAddress::new(self, format_args!("{shape} ({error})")),
        })
    }
}

impl IntoAddress for String {
    fn into_address(self) -> Result<Multiaddr, InvalidAddress> {
        self.as_str().into_address()
    }
}

impl IntoAddress for &String {
    fn into_address(self) -> Result<Multiaddr, InvalidAddress> {
        self.as_str().into_address()
    }
}

/// The multiaddr of what other programs take: `127.0.0.1:4001`, `[::1]:4001`, `localhost:4001`, and each without a port.
fn meant(text: &str) -> Option<Multiaddr> {
    let tcp = |host: Protocol<'_>, port| Multiaddr::empty().with(host.acquire()).with(Protocol::Tcp(port));
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(tcp(socket.ip().into(), socket.port()));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(tcp(ip.into(), 0));
    }
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let port = port.parse().ok()?;
    if host == "localhost" {
        return Some(tcp(Protocol::Ip4(Ipv4Addr::LOCALHOST), port));
    }
    let is_name = host.contains('.') && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    is_name.then(|| tcp(Protocol::Dns(host.into()), port))
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for libp2p::Multiaddr {}
    impl Sealed for &libp2p::Multiaddr {}
    impl Sealed for &str {}
    impl Sealed for String {}
    impl Sealed for &String {}
}

/// An address that can't be used. `Display` is one sentence that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAddress {
    address: String,
    reason: String,
}

impl InvalidAddress {
    pub(in crate::node) fn new(address: impl fmt::Display, reason: impl fmt::Display) -> Self {
        InvalidAddress { address: address.to_string(), reason: reason.to_string() }
    }

    /// The address, as it was given.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What is wrong with it.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address `{}`: {}", self.address, self.reason)
    }
}

impl std::error::Error for InvalidAddress {}

/// What lies above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum Kind {
    Tcp,
    Quic,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node) struct ListenAddress {
    pub(in crate::node) address: Multiaddr,
    pub(in crate::node) socket: SocketAddr,
    pub(in crate::node) kind: Kind,
}

const SPOKEN: &str = "p2prpc speaks TCP, /ip4/192.0.2.1/tcp/4001, and QUIC, /ip4/192.0.2.1/udp/4001/quic-v1, only";

impl TryFrom<Multiaddr> for ListenAddress {
    type Error = InvalidAddress;

    fn try_from(address: Multiaddr) -> Result<Self, InvalidAddress> {
        let invalid = |reason: &str| InvalidAddress::new(&address, reason);
        let mut parts = address.iter();
        let ip = match parts.next() {
            Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
            Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
            Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_)) => {
                return Err(invalid("a node listens on an IP address, not on a name"));
            }
            _ => return Err(invalid(SPOKEN)),
        };
        let (kind, port) = kind_and_port(&mut parts).map_err(invalid)?;
        match parts.next() {
            None => Ok(ListenAddress { socket: SocketAddr::new(ip, port), kind, address }),
            Some(Protocol::P2p(_)) => {
                Err(invalid("an address to listen on has no /p2p/ part: the node's identity says who it is"))
            }
            Some(_) => Err(invalid(SPOKEN)),
        }
    }
}

/// The peer that an address to dial names, if it names one.
pub(in crate::node) fn check_dialable(address: &Multiaddr) -> Result<Option<PeerId>, InvalidAddress> {
    let invalid = |reason: &str| InvalidAddress::new(address, reason);
    let mut parts = address.iter();
    let port = match parts.next() {
        Some(Protocol::Dnsaddr(_)) => None,
        Some(Protocol::Ip4(ip)) if ip.is_unspecified() => {
            return Err(invalid("it means all addresses and can't be dialled"));
        }
        Some(Protocol::Ip6(ip)) if ip.is_unspecified() => {
            return Err(invalid("it means all addresses and can't be dialled"));
        }
        Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => {
            Some(kind_and_port(&mut parts).map_err(invalid)?.1)
        }
        _ => return Err(invalid(SPOKEN)),
    };
    if port == Some(0) {
        return Err(invalid("port 0 can't be dialled"));
    }
    match (parts.next(), parts.next()) {
        (None, _) => Ok(None),
        (Some(Protocol::P2p(peer)), None) => Ok(Some(peer)),
        (Some(Protocol::P2p(_)), Some(Protocol::P2pCircuit)) => Err(invalid("relays are not supported yet")),
        _ => Err(invalid(SPOKEN)),
    }
}

fn kind_and_port<'a>(parts: &mut impl Iterator<Item = Protocol<'a>>) -> Result<(Kind, u16), &'static str> {
    match parts.next() {
        Some(Protocol::Tcp(port)) => Ok((Kind::Tcp, port)),
        Some(Protocol::Udp(port)) if parts.next() == Some(Protocol::QuicV1) => {
            if cfg!(feature = "quic") {
                Ok((Kind::Quic, port))
            } else {
                Err("QUIC is not compiled in: turn on p2prpc's feature `quic`")
            }
        }
        _ => Err(SPOKEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

    fn listen(text: &str) -> Result<ListenAddress, String> {
        text.into_address().and_then(ListenAddress::try_from).map_err(|error| error.to_string())
    }

    fn dial(text: &str) -> Result<Option<PeerId>, String> {
        text.into_address().and_then(|address| check_dialable(&address)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_other_programs_take_is_answered_with_what_was_meant() {
        for (text, meant) in [
            ("127.0.0.1:4001", "/ip4/127.0.0.1/tcp/4001"),
            ("[::1]:4001", "/ip6/::1/tcp/4001"),
            ("0.0.0.0", "/ip4/0.0.0.0/tcp/0"),
            ("localhost:4001", "/ip4/127.0.0.1/tcp/4001"),
            ("localhost", "/ip4/127.0.0.1/tcp/0"),
            ("peer.example.org:4001", "/dns/peer.example.org/tcp/4001"),
        ] {
            let error = text.into_address().unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean {meant}?")), "{error}");
        }
        for text in ["", "nonsense", "a b:1", "host:99999", "http://x.org:1"] {
            assert!(!text.into_address().is_ok_and(|address| !address.is_empty()), "{text}");
        }
    }

    #[test]
    fn ip_addresses_can_be_listened_on() {
        let tcp = listen("/ip6/::1/tcp/4001").unwrap();
        assert_eq!((tcp.kind, tcp.socket), (Kind::Tcp, "[::1]:4001".parse().unwrap()));
        assert!(listen("/ip4/0.0.0.0/tcp/0").is_ok());
        assert_eq!(listen("/ip4/127.0.0.1/udp/0/quic-v1").is_ok(), cfg!(feature = "quic"));
    }

    #[test]
    fn what_can_not_be_listened_on_is_named_with_the_reason() {
        let own = format!("/ip4/0.0.0.0/tcp/4001/p2p/{PEER}");
        for (text, reason) in [
            ("4001", "not a multiaddr"),
            ("/ip4/0.0.0.0/tcp/99999", "not a multiaddr"),
            ("/dns/localhost/tcp/4001", "not on a name"),
            ("/ip4/0.0.0.0/udp/4001", "only"),
            ("/ip4/0.0.0.0/tcp/4001/ws", "only"),
            ("/memory/1", "only"),
            (&own, "no /p2p/ part"),
        ] {
            let error = listen(text).unwrap_err();
            assert!(error.contains(text) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn names_and_peers_can_be_dialled() {
        assert_eq!(dial("/dns4/example.org/tcp/4001"), Ok(None));
        assert_eq!(dial(&format!("/ip4/192.0.2.1/tcp/4001/p2p/{PEER}")), Ok(Some(PEER.parse().unwrap())));
        assert_eq!(dial(&format!("/dnsaddr/example.org/p2p/{PEER}")), Ok(Some(PEER.parse().unwrap())));
    }

    #[test]
    fn what_can_not_be_dialled_is_named_with_the_reason() {
        let relayed = format!("/ip4/192.0.2.1/tcp/4001/p2p/{PEER}/p2p-circuit/p2p/{PEER}");
        for (text, reason) in [
            ("/ip4/0.0.0.0/tcp/4001", "can't be dialled"),
            ("/ip6/::/tcp/4001", "can't be dialled"),
            ("/ip4/192.0.2.1/tcp/0", "port 0"),
            ("/ip4/192.0.2.1/udp/4001/webrtc-direct", "only"),
            (&relayed, "relays"),
        ] {
            let error = dial(text).unwrap_err();
            assert!(error.contains(text) && error.contains(reason), "{error}");
        }
    }

    #[cfg(not(feature = "quic"))]
    #[test]
    fn quic_needs_its_feature() {
        assert!(listen("/ip4/127.0.0.1/udp/4001/quic-v1").unwrap_err().contains("feature `quic`"));
        assert!(dial("/ip4/127.0.0.1/udp/4001/quic-v1").unwrap_err().contains("feature `quic`"));
    }
}
