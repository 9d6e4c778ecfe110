//! Two nodes in one process: one serves, the other finds it and greets.

use p2prpc::prelude::*;

#[p2p_service]
trait Greeter {
    /// Greet someone by name.
    async fn greet(&self, name: String) -> String;
}

struct Polite;

impl Greeter for Polite {
    async fn greet(&self, name: String) -> String {
        format!("Hello, {name}!")
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let alice = Node::builder()
        .listen("/ip4/127.0.0.1/tcp/0")
        .rendezvous("readme/greeter")
        .serve(GreeterServer::new(Polite))
        .start()
        .await?;
    let bob = Node::builder()
        .listen("/ip4/127.0.0.1/tcp/0")
        .bootstrap(alice.addresses())
        .rendezvous("readme/greeter")
        .start()
        .await?;

    let client = GreeterClient::new(&bob);
    client.wait_for(1).await?;
    for (_peer, reply) in client.greet_all("Ada".into()).await {
        println!("{}", reply?);
    }
    Ok(())
}
