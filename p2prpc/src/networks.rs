//! The networks that this machine is in now, and so which of a peer's addresses are likeliest to lead to it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use if_addrs::IfAddr;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use parking_lot::Mutex;

/// The system is asked again after this: interfaces come and go.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// How the names begin of interfaces that lead to containers and virtual machines of this machine, and nowhere else.
const VIRTUAL: [&str; 16] = [
    "docker",
    "br-",
    "veth",
    "virbr",
    "vmnet",
    "vboxnet",
    "lxcbr",
    "lxdbr",
    "incusbr",
    "podman",
    "cni",
    "flannel",
    "cali",
    "vEthernet",
    "bridge",
    "vnet",
];

/// Clones share what was seen.
#[derive(Clone, Debug)]
pub(crate) struct Networks(Arc<Source>);

#[derive(Debug)]
enum Source {
    System(Mutex<Option<(Instant, Arc<[Interface]>)>>),
    #[cfg(test)]
    Fixed(Arc<[Interface]>),
}

/// An address of this machine, and the network that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interface {
    ip: IpAddr,
    prefix: u8,
    is_virtual: bool,
}

/// Where an address of a peer lies as seen from this machine, the likeliest to work first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Where the peer was heard of itself.
    Proven,
    /// This machine, by an address that means it everywhere.
    Loopback,
    /// A network that this machine is in.
    SameNetwork,
    Elsewhere,
    /// A network of containers or virtual machines of this machine.
    Virtual,
    /// Where Docker puts the networks of every machine.
    DockerRange,
    /// An address of this machine: another process here, or a machine that numbers its virtual networks as this one does.
    Own,
}

impl Networks {
    /// Those of this machine.
    pub(crate) fn system() -> Self {
        Networks(Arc::new(Source::System(Mutex::default())))
    }

    /// Interfaces as `name`, `ip` and length of the network's prefix.
    #[cfg(test)]
    pub(crate) fn fixed<'a>(interfaces: impl IntoIterator<Item = (&'a str, &'a str, u8)>) -> Self {
        let interfaces = interfaces.into_iter();
        let interfaces = interfaces.map(|(name, ip, prefix)| Interface::new(name, ip.parse().unwrap(), prefix));
        Networks(Arc::new(Source::Fixed(interfaces.collect())))
    }

    fn now(&self) -> Arc<[Interface]> {
        match &*self.0 {
            Source::System(seen) => {
                let (mut seen, now) = (seen.lock(), Instant::now());
                match &*seen {
                    Some((at, interfaces)) if now.saturating_duration_since(*at) < FRESH_FOR => interfaces.clone(),
                    _ => {
                        let interfaces = interfaces_of_system();
                        *seen = Some((now, interfaces.clone()));
                        interfaces
                    }
                }
            }
            #[cfg(test)]
            Source::Fixed(interfaces) => interfaces.clone(),
        }
    }

    /// True if it is an address of this machine.
    pub(crate) fn is_own(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.now().iter().any(|interface| interface.ip == ip)
    }

    /// The addresses of a peer, the likeliest to lead to it first: where it was reached before anything else, then what lies
    /// in a network of ours; what lies equally near by one transport of each IP first, and in the order given.
    pub(crate) fn ordered(&self, addresses: Vec<Multiaddr>, proven: Option<IpAddr>) -> Vec<Multiaddr> {
        let interfaces = self.now();
        sorted(addresses, |ip| place(&interfaces, ip, proven))
    }

    /// Our own addresses, those first that mean something to the most peers.
    pub(crate) fn own_ordered(&self, addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let interfaces = self.now();
        sorted(addresses, |ip| {
            let is_virtual = |ip| interfaces.iter().any(|own| own.ip == ip && own.is_virtual);
            match ip {
                Some(ip) if ip.is_loopback() => 1,
                Some(ip) if is_virtual(ip) => 2,
                _ => 0,
            }
        })
    }
}

impl Interface {
    fn new(name: &str, ip: IpAddr, prefix: u8) -> Self {
        // Docker's own addresses, whatever the bridge is called.
        let of_docker =
            matches!(ip, IpAddr::V4(v4) if is_docker_range(ip) && prefix == 16 && v4.octets()[2..] == [0, 1]);
        Interface { ip, prefix, is_virtual: of_docker || VIRTUAL.iter().any(|virt| name.starts_with(virt)) }
    }

    fn holds(&self, ip: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
            IpAddr::V6(ip) => u128::from(ip),
        };
        let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
        self.prefix > 0 && self.ip.is_ipv4() == ip.is_ipv4() && (bits(self.ip) ^ bits(ip)) & mask == 0
    }
}

fn interfaces_of_system() -> Arc<[Interface]> {
    let found = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::debug!(%error, "the network interfaces can't be listed");
        Vec::new()
    });
    let interfaces = found.iter().map(|interface| {
        let prefix = match &interface.addr {
            IfAddr::V4(v4) => v4.prefixlen,
            IfAddr::V6(v6) => v6.prefixlen,
        };
        Interface::new(&interface.name, interface.ip(), prefix)
    });
    interfaces.collect()
}

fn place(interfaces: &[Interface], ip: Option<IpAddr>, proven: Option<IpAddr>) -> Place {
    let Some(ip) = ip else { return Place::Elsewhere };
    let within = |is_virtual: bool| interfaces.iter().any(|own| own.is_virtual == is_virtual && own.holds(ip));
    if proven == Some(ip) {
        Place::Proven
    } else if ip.is_loopback() {
        Place::Loopback
    } else if interfaces.iter().any(|own| own.ip == ip) {
        Place::Own
    } else if within(false) {
        Place::SameNetwork
    } else if within(true) {
        Place::Virtual
    } else if is_docker_range(ip) {
        Place::DockerRange
    } else {
        Place::Elsewhere
    }
}

/// 172.17.0.0/16 to 172.31.0.0/16.
fn is_docker_range(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if matches!(ip.octets(), [172, 17..=31, ..]))
}

fn sorted<K: Ord>(addresses: Vec<Multiaddr>, key: impl Fn(Option<IpAddr>) -> K) -> Vec<Multiaddr> {
    let mut seen: HashMap<IpAddr, usize> = HashMap::new();
    let keyed = addresses.into_iter().map(|address| {
        let ip = ip_of(&address);
        let nth = ip.map_or(0, |ip| {
            let count = seen.entry(ip).or_default();
            *count += 1;
            *count
        });
        ((key(ip), nth), address)
    });
    let mut keyed: Vec<_> = keyed.collect();
    keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
    keyed.into_iter().map(|(_, address)| address).collect()
}

pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip).to_canonical()),
        _ => None,
    }
}

/// Without the peer's id at its end.
pub(crate) fn bare(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if let Some(Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn laptop() -> Networks {
        let bridges = ["172.17.0.1", "172.18.0.1", "172.19.0.1"];
        let bridges = bridges.into_iter().map(|ip| ("br0", ip, 16));
        let others = [("lo", "127.0.0.1", 8), ("virbr0", "192.168.122.1", 24), ("wlan0", "10.9.0.2", 24)];
        Networks::fixed(bridges.chain(others))
    }

    #[test]
    fn what_lies_in_a_common_network_comes_before_bridges() {
        let told = addresses(&[
            "/ip4/172.17.0.1/tcp/1",
            "/ip4/172.17.0.1/udp/1/quic-v1",
            "/ip4/172.25.0.1/tcp/1",
            "/ip4/192.168.122.1/tcp/1",
            "/ip4/172.18.0.7/tcp/1",
            "/ip4/203.0.113.5/tcp/1",
            "/ip4/10.9.0.3/tcp/1",
            "/ip4/10.9.0.3/udp/1/quic-v1",
        ]);
        let expected = addresses(&[
            "/ip4/10.9.0.3/tcp/1",
            "/ip4/10.9.0.3/udp/1/quic-v1",
            "/ip4/203.0.113.5/tcp/1",
            "/ip4/172.18.0.7/tcp/1",
            "/ip4/172.25.0.1/tcp/1",
            "/ip4/172.17.0.1/tcp/1",
            "/ip4/192.168.122.1/tcp/1",
            "/ip4/172.17.0.1/udp/1/quic-v1",
        ]);
        assert_eq!(laptop().ordered(told, None), expected);
    }

    #[test]
    fn where_a_peer_was_heard_comes_first() {
        let told = addresses(&["/ip4/10.9.0.3/tcp/1", "/ip4/172.17.0.1/tcp/1"]);
        let ordered = laptop().ordered(told.clone(), Some("172.17.0.1".parse().unwrap()));
        assert_eq!(ordered, [told[1].clone(), told[0].clone()]);
    }

    #[test]
    fn one_transport_of_each_ip_comes_first() {
        let told = addresses(&["/ip4/10.9.0.3/tcp/1", "/ip4/10.9.0.3/udp/1/quic-v1", "/ip4/10.9.0.4/tcp/1"]);
        let ordered = laptop().ordered(told.clone(), None);
        assert_eq!(ordered, [told[0].clone(), told[2].clone(), told[1].clone()]);
    }

    #[test]
    fn a_container_sees_its_neighbours() {
        let container = Networks::fixed([("eth0", "172.17.0.5", 16)]);
        let told = addresses(&["/ip4/203.0.113.5/tcp/1", "/ip4/172.17.0.1/tcp/1"]);
        assert_eq!(container.ordered(told.clone(), None), [told[1].clone(), told[0].clone()]);
    }

    #[test]
    fn own_bridges_are_told_last() {
        let own = addresses(&["/ip4/172.17.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip4/10.9.0.2/tcp/1"]);
        let expected = addresses(&["/ip4/10.9.0.2/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip4/172.17.0.1/tcp/1"]);
        assert_eq!(laptop().own_ordered(own), expected);
    }

    #[test]
    fn knows_what_a_network_holds() {
        let holds = |own: &str, prefix, ip: &str| {
            Interface::new("eth0", own.parse().unwrap(), prefix).holds(ip.parse().unwrap())
        };
        assert!(holds("10.0.0.1", 8, "10.255.0.1") && !holds("10.0.0.1", 8, "11.0.0.1"));
        assert!(holds("10.0.0.1", 32, "10.0.0.1") && !holds("10.0.0.1", 32, "10.0.0.2"));
        assert!(!holds("10.0.0.1", 0, "10.0.0.2"), "it says nothing");
        assert!(holds("fd00::1", 64, "fd00::2") && !holds("fd00::1", 64, "fd00:0:0:1::2"));
        assert!(!holds("10.0.0.1", 8, "fd00::1"));
    }
}
