//! A node among the peers of a Go application: it serves them, finds them and calls them.
//!
//! `cargo run --example go_peers --features gorpc -- /ip4/127.0.0.1/tcp/4001/p2p/Qm..` joins through a Go peer.

use std::time::Duration;

use p2prpc::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")] // as Go writes field names
struct Envelope {
    message: String,
}

#[p2p_service(gorpc = "EchoRPCAPI")] // for Go peers "EchoRPCAPI.Echo", for others "EchoService.Echo"
trait EchoService {
    async fn echo(&self, msg: Envelope) -> Envelope;
}

struct Echo;

impl EchoService for Echo {
    async fn echo(&self, msg: Envelope) -> Envelope {
        msg
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::args().skip(1);
    let node = Node::builder()
        .listen("/ip4/0.0.0.0/tcp/0")
        .protocol("/p2p/rpc/ldej") // the protocol id of the Go application,
        .rendezvous("ldej/echo") // and its rendezvous string
        .gorpc(true)
        .bootstrap(bootstrap)
        .serve(EchoServiceServer::new(Echo))
        .start()
        .await?;
    for address in node.addresses() {
        println!("{address}");
    }
    let client = EchoServiceClient::new(&node);
    loop {
        for (peer, reply) in client.echo_all(Envelope { message: "hello".into() }).await {
            println!("{peer}: {reply:?}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
