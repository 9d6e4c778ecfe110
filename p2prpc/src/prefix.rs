//! Who is likely to be one and the same: peers of one public IP prefix.

use std::net::IpAddr;

#[cfg(feature = "node")]
use libp2p::{Multiaddr, multiaddr::Protocol};

/// A public IP prefix: v4 /24, v6 /56. Loopback and private addresses have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Prefix {
    V4([u8; 3]),
    V6([u8; 7]),
}

impl Prefix {
    /// That of the host which an address names by its IP.
    #[cfg(feature = "node")]
    pub(crate) fn of_address(address: &Multiaddr) -> Option<Self> {
        match address.iter().next()? {
            Protocol::Ip4(ip) => Self::of(ip.into()),
            Protocol::Ip6(ip) => Self::of(ip.into()),
            _ => None,
        }
    }

    pub(crate) fn of(ip: IpAddr) -> Option<Self> {
        match ip.to_canonical() {
            IpAddr::V4(ip) if ip.is_loopback() || ip.is_private() || ip.is_link_local() => None,
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Some(Prefix::V4([a, b, c]))
            }
            IpAddr::V6(ip) if ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() => None,
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, ..] = ip.octets();
                Some(Prefix::V6([a, b, c, d, e, f, g]))
            }
        }
    }
}
