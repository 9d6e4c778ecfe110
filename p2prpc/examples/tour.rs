//! The snippets of the README, in one program that runs.

use std::collections::HashSet;
use std::time::Duration;

use p2prpc::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    message: String,
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
enum Refused {
    #[error("a message has at most {limit} bytes")]
    TooLong { limit: usize },
    #[error("a message says something")]
    Empty,
}

#[p2p_service] // on the wire: "EchoService.Echo"
trait EchoService {
    /// Send the message back, and say who asked.
    async fn echo(&self, cx: &Context, msg: Envelope) -> Result<Envelope, Refused>;
}

struct Echo;

impl EchoService for Echo {
    async fn echo(&self, cx: &Context, msg: Envelope) -> Result<Envelope, Refused> {
        match msg.message.len() {
            0 => return Err(Refused::Empty),
            1001.. => return Err(Refused::TooLong { limit: 1000 }),
            _ => {}
        }
        Ok(Envelope { message: format!("{} said {}", cx.peer(), msg.message) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let caller = Identity::generate();
    let friends = HashSet::from([caller.peer_id()]);
    let server = serve(friends).await?;
    let node = Node::builder().identity(caller).listen("/ip4/127.0.0.1/tcp/0").bootstrap(server.addresses());
    let node = node.rendezvous("readme/tour").start().await?;
    EchoServiceClient::new(&node).wait_for(1).await?;
    call(&node, server.peer_id()).await;
    unit_test().await?;
    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

async fn serve(friends: HashSet<PeerId>) -> Result<Node, Box<dyn std::error::Error>> {
    let allowed = friends.clone();
    let node = Node::builder()
        .listen("/ip4/127.0.0.1/tcp/0")
        .rendezvous("readme/tour")
        .admit(move |peer, _direction| allowed.contains(peer)) // who may connect at all
        .serve(EchoServiceServer::new(Echo).authorize(move |call: &CallInfo| friends.contains(&call.peer()))) // who may call this
        .start()
        .await?;
    Ok(node)
}

async fn call(node: &Node, peer: PeerId) {
    let client = EchoServiceClient::new(node);
    let hello = || Envelope { message: "hello".into() };

    let one = client.peer(peer).echo(hello()).await; // one peer
    let some = client.peers([peer]).echo(hello()).await; // these peers
    let all = client.echo_all(hello()).await; // every peer found: a Result each
    let call = client.peer(peer).echo(hello()).timeout(Duration::from_secs(2)); // nothing happens until .await

    println!("{one:?}\n{some:?}\n{all:?}\n{:?}", call.await);

    let too_long = Envelope { message: "x".repeat(2000) };
    match client.peer(peer).echo(too_long).await {
        Ok(echo) => println!("{}", echo.message),
        Err(CallError::Application(error)) => println!("the handler says: {error}"),
        Err(error) if error.delivery() == Delivery::NeverSent => println!("safe to try again: {error}"),
        Err(error) => println!("{error}"),
    }
}

async fn unit_test() -> Result<(), CallError<Refused>> {
    let (ada, bob) = (PeerId::random(), PeerId::random());
    let rules = move |call: &CallInfo| call.peer() == ada;

    // Called as Ada, with codec, limits and rules, and without a network.
    let client = EchoServiceClient::local_as(ada, EchoServiceServer::new(Echo).authorize(rules));
    let echo = client.peer(bob).echo(Envelope { message: "hi".into() }).await?;
    assert_eq!(echo.message, format!("{ada} said hi"));

    // As Bob, who may not.
    let client = EchoServiceClient::local_as(bob, EchoServiceServer::new(Echo).authorize(rules));
    let error = client.peer(ada).echo(Envelope { message: "hi".into() }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotServed);

    // The handler alone.
    let refused = Echo.echo(&Context::for_tests(ada), Envelope { message: String::new() }).await;
    assert!(matches!(refused, Err(Refused::Empty)));
    Ok(())
}
