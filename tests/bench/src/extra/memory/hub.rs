//! The peer that all others are connected to.

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::super::bare::company::Peer;
use super::super::nodes::{self, Carrier, Dht, EchoService};
use super::super::{Error, files};
use super::{Kind, heap};

/// Answers the empty message, and no other.
struct Choosy;

impl EchoService for Choosy {
    async fn echo(&self, message: String) -> String {
        if message.is_empty() { message } else { std::future::pending().await }
    }
}

/// Says its address, and then, for each line that it reads, what memory it takes.
pub(crate) async fn run(kind: &str) -> Result<(), Error> {
    files::allow_many();
    let (address, _peers) = match Kind::named(kind)? {
        Kind::P2prpc => {
            let (node, address) = nodes::server(Carrier::Tcp, Dht::Apart, Choosy).await?;
            (address, (Some(node), None))
        }
        Kind::Bare => {
            let peer = Peer::start(Carrier::Tcp, Dht::Apart).await?;
            (peer.address().clone(), (None, Some(peer)))
        }
    };
    println!("{}", json!(address.to_string()));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while lines.next_line().await?.is_some() {
        println!("{}", heap::report()?);
    }
    Ok(())
}
