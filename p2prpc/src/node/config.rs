//! What a node is told, as an application's configuration has it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Identity, NodeBuilder, Reachability};
use crate::durations;
use crate::limits::Limits;

/// What a [`NodeBuilder`] can be told in a file: any format of serde's. Everything is optional, and what isn't said stays as it
/// is in the builder. A key that isn't known is an error of the format's.
///
/// Times are texts such as `"1m 30s"`, or numbers of seconds. Rules and services are code, and so not in it.
///
/// ```
/// use p2prpc::{Node, NodeConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config: NodeConfig = serde_json::from_str(
///     r#"{
///         "identity": "node.key",
///         "listen": ["/ip4/0.0.0.0/tcp/4001"],
///         "rendezvous": ["my-app"],
///         "bootstrap": ["/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"],
///         "timeout": "2s",
///         "reachability": { "public": ["/ip4/198.51.100.7/tcp/4001"] },
///         "limits": { "max_message": 1048576, "max_deadline": 60 }
///     }"#,
/// )?;
/// # let directory = tempfile::tempdir()?;
/// # let config = NodeConfig { identity: Some(directory.path().join("node.key")), ..config };
/// let builder = Node::builder().config(config);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// The file of the node's identity, as [`Identity::from_file`].
    pub identity: Option<PathBuf>,
    /// As [`NodeBuilder::listen`], once for each.
    pub listen: Vec<String>,
    /// As [`NodeBuilder::protocol`].
    pub protocol: Option<String>,
    /// As [`NodeBuilder::kad_protocol`].
    pub kad_protocol: Option<String>,
    /// As [`NodeBuilder::bootstrap`].
    pub bootstrap: Vec<String>,
    /// As [`NodeBuilder::peer_cache`].
    pub peer_cache: Option<PathBuf>,
    /// As [`NodeBuilder::rendezvous`], once for each.
    pub rendezvous: Vec<String>,
    /// As [`NodeBuilder::timeout`].
    #[serde(with = "durations::optional")]
    pub timeout: Option<Duration>,
    /// As [`NodeBuilder::reachability`]: `"private"`, `"client"`, or `{"public": [..]}` with addresses.
    pub reachability: Option<Reachability>,
    /// As [`NodeBuilder::max_connected_members`].
    pub max_connected_members: Option<usize>,
    /// As [`NodeBuilder::max_connections`].
    pub max_connections: Option<usize>,
    /// As [`NodeBuilder::mdns`].
    #[cfg(feature = "mdns")]
    pub mdns: bool,
    /// As [`NodeBuilder::gorpc`].
    #[cfg(feature = "gorpc")]
    pub gorpc: bool,
    /// As [`NodeBuilder::limits`]; those that aren't said have their defaults.
    pub limits: Option<Limits>,
}

impl NodeBuilder {
    /// Take what this says. What it doesn't say stays as it is; addresses and rendezvous are added to those that are there.
    pub fn config(mut self, config: NodeConfig) -> Self {
        if let Some(path) = config.identity {
            match Identity::from_file(path) {
                Ok(identity) => self = self.identity(identity),
                Err(error) => self.wrong(error),
            }
        }
        self = config.listen.into_iter().fold(self, NodeBuilder::listen);
        self = config.rendezvous.into_iter().fold(self, NodeBuilder::rendezvous);
        self = self.bootstrap(config.bootstrap);
        self.protocol = config.protocol.unwrap_or(self.protocol);
        self.kad_protocol = config.kad_protocol.unwrap_or(self.kad_protocol);
        self.peer_cache = config.peer_cache.or(self.peer_cache);
        self.timeout = config.timeout.unwrap_or(self.timeout);
        self.reachability = config.reachability.unwrap_or(self.reachability);
        self.limits = config.limits.unwrap_or(self.limits);
        if let Some(members) = config.max_connected_members {
            self = self.max_connected_members(members);
        }
        if let Some(connections) = config.max_connections {
            self = self.max_connections(connections);
        }
        #[cfg(feature = "mdns")]
        {
            self.mdns |= config.mdns;
        }
        #[cfg(feature = "gorpc")]
        {
            self.gorpc |= config.gorpc;
        }
        self
    }
}
