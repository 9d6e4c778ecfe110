//! Which addresses that others tell us are kept and dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::networks::{Networks, ip_of};

/// More addresses of one peer than this are not kept.
pub(super) const MAX_ADDRESSES: usize = 8;
/// More than this that somebody says of one peer is not looked at.
const MAX_LOOKED_AT: usize = 256;

/// How far an address reaches, from the farthest.
///
/// It is also said of one who tells us addresses: an address of his scope or a wider one can mean the same to both of
/// us. A narrower one means another machine to him, and dialling it would make us his scanner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// The whole internet.
    Public,
    /// A network of its own: private, shared and link-local ranges.
    Private,
    /// This machine.
    Loopback,
}

impl Scope {
    /// The scope of an address that can be dialled; `None` for what can't or mustn't be.
    pub(crate) fn of(address: &Multiaddr) -> Option<Scope> {
        Socket::of(address).map(|socket| socket.scope())
    }

    /// From how far one at the other end of a connection speaks to us; `None` if the address doesn't say.
    pub(crate) fn of_remote(address: &Multiaddr) -> Option<Scope> {
        match address.iter().next() {
            // It can't be dialled, and is a place on this link all the same.
            Some(Protocol::Ip6(ip)) if ip.is_unicast_link_local() => Some(Scope::Private),
            _ => Scope::of(address),
        }
    }
}

/// An IP and a port, of either transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Socket {
    pub(super) ip: IpAddr,
    port: u16,
    udp: bool,
}

impl Socket {
    /// The socket of an address `/ip4|ip6/../tcp/..` or `../udp/../quic-v1`, with a peer id behind it or without.
    pub(super) fn of(address: &Multiaddr) -> Option<Socket> {
        let ip = ip_of(address)?;
        let mut parts = address.iter().skip(1);
        let (port, udp) = match parts.next()? {
            Protocol::Tcp(port) => (port, false),
            Protocol::Udp(port) if parts.next() == Some(Protocol::QuicV1) => (port, true),
            _ => return None,
        };
        let ends = match parts.next() {
            None => true,
            Some(Protocol::P2p(_)) => parts.next().is_none(),
            Some(_) => false,
        };
        (ends && port != 0 && is_unicast(ip)).then_some(Socket { ip, port, udp })
    }

    pub(super) fn scope(&self) -> Scope {
        match self.ip {
            IpAddr::V4(ip) if ip.is_loopback() => Scope::Loopback,
            IpAddr::V6(ip) if ip.is_loopback() => Scope::Loopback,
            IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() || is_shared(ip) => Scope::Private,
            IpAddr::V6(ip) if ip.is_unique_local() => Scope::Private,
            _ => Scope::Public,
        }
    }
}

/// Unlike multicast, broadcast, unspecified and reserved addresses, and those of one link in IPv6: they mean nothing
/// without the name of an interface, which a multiaddr doesn't have.
fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, ..] = ip.octets();
            first != 0 && first < 224
        }
        IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unicast_link_local() && ip != Ipv6Addr::UNSPECIFIED,
    }
}

/// 100.64.0.0/10, between a provider and its customers (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0b1100_0000 == 64
}

/// True if one of scope `source` may tell us this address.
pub(crate) fn may_tell(source: Scope, address: &Multiaddr) -> bool {
    Scope::of(address).is_some_and(|scope| scope <= source)
}

/// Those of `addresses` that one of scope `source` may tell us of `peer`, each once, with the peer's id at its end: the likeliest
/// ones first, and no more than eight.
pub(crate) fn filter<'a>(
    peer: &PeerId,
    addresses: impl IntoIterator<Item = &'a Multiaddr>,
    source: Scope,
    networks: &Networks,
) -> Vec<Multiaddr> {
    filter_proven(peer, addresses, source, networks, None)
}

/// The same, where the peer is known to be at an IP.
pub(crate) fn filter_proven<'a>(
    peer: &PeerId,
    addresses: impl IntoIterator<Item = &'a Multiaddr>,
    source: Scope,
    networks: &Networks,
    proven: Option<IpAddr>,
) -> Vec<Multiaddr> {
    let mut kept: Vec<Multiaddr> = Vec::new();
    for address in addresses.into_iter().take(MAX_LOOKED_AT) {
        if !may_tell(source, address) {
            continue;
        }
        let Ok(address) = address.clone().with_p2p(*peer) else { continue };
        if !kept.contains(&address) {
            kept.push(address);
        }
    }
    let mut likely = networks.ordered(kept, proven);
    likely.truncate(MAX_ADDRESSES);
    likely
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere() -> Networks {
        Networks::fixed([])
    }

    fn scope(address: &str) -> Option<Scope> {
        Scope::of(&address.parse().unwrap())
    }

    #[test]
    fn knows_how_far_an_address_reaches() {
        assert_eq!(scope("/ip4/127.0.0.1/tcp/1"), Some(Scope::Loopback));
        assert_eq!(scope("/ip6/::1/udp/1/quic-v1"), Some(Scope::Loopback));
        assert_eq!(scope("/ip6/::ffff:127.0.0.1/tcp/1"), Some(Scope::Loopback));
        for private in ["10.1.2.3", "172.31.0.1", "192.168.0.9", "169.254.1.1", "100.64.0.1", "100.127.255.255"] {
            assert_eq!(scope(&format!("/ip4/{private}/tcp/1")), Some(Scope::Private), "{private}");
        }
        assert_eq!(scope("/ip6/fd00::1/tcp/1"), Some(Scope::Private));
        let link_local = "/ip6/fe80::1/tcp/1".parse().unwrap();
        assert_eq!(Scope::of_remote(&link_local), Some(Scope::Private));
        for public in ["/ip4/100.63.0.1/tcp/1", "/ip4/100.128.0.1/tcp/1", "/ip6/2001:db8::1/tcp/9"] {
            assert_eq!(scope(public), Some(Scope::Public), "{public}");
        }
    }

    #[test]
    fn refuses_what_is_no_address_of_a_peer() {
        let peer = PeerId::random();
        for bad in [
            "/dns4/example.com/tcp/1",
            "/dnsaddr/example.com",
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/0.1.2.3/tcp/1",
            "/ip4/224.0.0.251/udp/5353/quic-v1",
            "/ip4/255.255.255.255/tcp/1",
            "/ip6/::/tcp/1",
            "/ip6/ff02::fb/udp/1/quic-v1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/febf::1/udp/1/quic-v1",
            "/ip4/203.0.113.1/tcp/0",
            "/ip4/203.0.113.1/udp/1",
            "/ip4/203.0.113.1",
            "/ip4/203.0.113.1/tcp/1/http",
            "/memory/1",
            &format!("/ip4/203.0.113.1/tcp/1/p2p/{peer}/p2p-circuit"),
            &format!("/p2p/{peer}"),
        ] {
            assert_eq!(scope(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_source_may_tell_its_own_scope_and_wider() {
        let address = |text: &str| text.parse::<Multiaddr>().unwrap();
        let all = [address("/ip4/203.0.113.1/tcp/1"), address("/ip4/10.0.0.1/tcp/1"), address("/ip4/127.0.0.1/tcp/1")];
        let peer = PeerId::random();
        assert_eq!(filter(&peer, &all, Scope::Public, &nowhere()).len(), 1);
        assert_eq!(filter(&peer, &all, Scope::Private, &nowhere()).len(), 2);
        assert_eq!(filter(&peer, &all, Scope::Loopback, &nowhere()).len(), 3);
    }

    #[test]
    fn gives_the_peer_id_and_refuses_another_ones() {
        let (peer, other) = (PeerId::random(), PeerId::random());
        let bare: Multiaddr = "/ip4/203.0.113.1/tcp/1".parse().unwrap();
        let full = bare.clone().with(Protocol::P2p(peer));
        let foreign = bare.clone().with(Protocol::P2p(other));
        assert_eq!(filter(&peer, &[bare, full.clone(), foreign], Scope::Public, &nowhere()), [full]);
    }

    #[test]
    fn keeps_eight_addresses_of_a_peer() {
        let many: Vec<Multiaddr> =
            (1..100).map(|port| format!("/ip4/203.0.113.1/tcp/{port}").parse().unwrap()).collect();
        assert_eq!(filter(&PeerId::random(), &many, Scope::Public, &nowhere()).len(), MAX_ADDRESSES);
    }
}
