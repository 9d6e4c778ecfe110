//! By which transport a swarm talks: the machine's limit on open files decides.

use crate::exit::Failure;

/// What the program has open without a node: the standard streams, the runtime.
const OF_THE_PROGRAM: u64 = 64;
/// What a node has open without a connection: its socket, what tells it of network interfaces.
const OF_A_NODE: u64 = 8;
/// Two nodes that find each other at the same time connect twice, until one of the connections is closed.
const SPARE_CONNECTIONS_IN_TEN: u64 = 5;

/// A transport of libp2p.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// A file for each end of each connection.
    Tcp,
    /// A file for each node.
    Quic,
}

impl Transport {
    /// TCP if so many open files are enough for it.
    pub(super) fn choose(nodes: usize, open_files: u64) -> Result<Self, Failure> {
        let least = Transport::Quic.files(nodes);
        match open_files {
            _ if open_files >= Transport::Tcp.files(nodes) => Ok(Transport::Tcp),
            _ if open_files >= least => Ok(Transport::Quic),
            _ => Err(Failure::usage(format_args!(
                "swarm wants {least} open files for {nodes} nodes, and this machine allows {open_files}: raise `ulimit -n` or \
                 ask for fewer nodes"
            ))),
        }
    }

    fn files(self, nodes: usize) -> u64 {
        let nodes = nodes as u64;
        let connections = match self {
            Transport::Tcp => nodes * nodes.saturating_sub(1) * (10 + SPARE_CONNECTIONS_IN_TEN) / 10,
            Transport::Quic => 0,
        };
        OF_THE_PROGRAM + nodes * OF_A_NODE + connections
    }

    /// Where a node listens.
    pub(super) fn loopback(self) -> &'static str {
        match self {
            Transport::Tcp => "/ip4/127.0.0.1/tcp/0",
            Transport::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        }
    }
}

/// What so many nodes have open at most.
pub(super) fn most_files(nodes: usize) -> u64 {
    Transport::Tcp.files(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_mean_quic_and_too_few_a_sentence() {
        assert_eq!(Transport::choose(3, 1024).unwrap(), Transport::Tcp);
        assert_eq!(Transport::choose(50, 8192).unwrap(), Transport::Tcp);
        assert_eq!(Transport::choose(50, 1024).unwrap(), Transport::Quic);
        assert_eq!(Transport::choose(100, 1024).unwrap(), Transport::Quic);
        let failure = Transport::choose(100, 256).unwrap_err();
        assert!(failure.sentence().starts_with("swarm wants 864 open files for 100 nodes"), "{failure:?}");
        assert!(failure.sentence().contains("allows 256"), "{failure:?}");
    }
}
