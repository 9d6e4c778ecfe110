//! A node as an application keeps it: with an identity that stays, found in the local network, watched, and ended politely.

use std::time::Duration;

use futures::StreamExt;
use p2prpc::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir();
    let node = Node::builder()
        .identity(Identity::from_file(directory.join("my-app.key"))?) // made if it isn't there
        .peer_cache(directory.join("my-app.peers")) // finds its group again, without bootstrap peers too
        .mdns() // looks in the local network: the feature `mdns`
        .rendezvous("my-app")
        .start()
        .await?;

    let mut events = node.events(); // what holds now, and then what happens
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                NodeEvent::Listening { address } => println!("at {address}"),
                NodeEvent::PeerJoined { peer } => println!("{peer} is there"),
                NodeEvent::PeerLeft { peer } => println!("{peer} is gone"),
                NodeEvent::BootstrapFailed { address, error } => println!("{address}: {error}"),
                _ => {}
            }
        }
    });

    tokio::signal::ctrl_c().await?;
    // Calls under way have 5 s to end; members are told. Where others hold the node too, `close` does the same through `&node`.
    node.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
