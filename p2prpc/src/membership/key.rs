//! The name of a rendezvous in the DHT.

use libp2p::kad::RecordKey;
use sha2::{Digest, Sha256};

/// The multihash code of sha2-256 and the length of its digest
/// ([multicodec table](https://github.com/multiformats/multicodec/blob/master/table.csv)).
const SHA2_256: [u8; 2] = [0x12, 0x20];

/// A rendezvous as peers name it to each other: the sha2-256 digest of its string.
pub(crate) type Topic = [u8; 32];

pub(crate) fn topic(rendezvous: &str) -> Topic {
    Sha256::digest(rendezvous).into()
}

/// The key of a topic's provider records.
pub(crate) fn record_key(topic: &Topic) -> RecordKey {
    RecordKey::from([&SHA2_256[..], topic].concat())
}

/// The key under which those who meet at `rendezvous` are provider records in the Kademlia DHT.
///
/// It is the sha2-256 [multihash](https://multiformats.io/multihash/) of the string's bytes, 34 bytes, which is also what
/// go-libp2p's `RoutingDiscovery` uses: peers of both find each other.
///
/// ```
/// let key = p2prpc::rendezvous_key("ldej/echo");
/// assert_eq!(key[..4], [0x12, 0x20, 0xc2, 0x35]);
/// ```
pub fn rendezvous_key(rendezvous: &str) -> Vec<u8> {
    record_key(&topic(rendezvous)).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(key: &[u8]) -> String {
        key.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The keys that go-libp2p computes.
    #[test]
    fn is_the_key_of_go_libp2p() {
        let echo = "1220c23599382f15e6fd22b78ad52a86233f8445e6b9c5e05f10e882e0462476b465";
        assert_eq!(hex(&rendezvous_key("ldej/echo")), echo);
        let demo = "12207fe8e649f26fc21c382f00d34c6bf6b4ce9b1c34ff9e81573e7068ae8e34a89a";
        assert_eq!(hex(&rendezvous_key("p2prpc-demo")), demo);
    }
}
