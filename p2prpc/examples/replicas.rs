//! A value that three nodes keep: calls to many peers, and when they are enough.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::StreamExt;
use p2prpc::prelude::*;

#[p2p_service]
trait Store {
    async fn put(&self, key: String, value: u64);

    #[rpc(idempotent)] // made again by itself after a lost connection: calling twice does no harm
    async fn get(&self, key: String) -> Option<u64>;
}

#[derive(Default)]
struct Memory(Mutex<HashMap<String, u64>>);

impl Memory {
    fn values(&self) -> std::sync::MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Store for Memory {
    async fn put(&self, key: String, value: u64) {
        self.values().insert(key, value);
    }

    async fn get(&self, key: String) -> Option<u64> {
        self.values().get(&key).copied()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..3 {
        let known: Vec<_> = nodes.first().map(Node::addresses).unwrap_or_default();
        let node = Node::builder()
            .listen("/ip4/127.0.0.1/tcp/0")
            .rendezvous("readme/store")
            .bootstrap(known)
            .serve(StoreServer::new(Memory::default()))
            .start()
            .await?;
        nodes.push(node);
    }
    let writer = Node::builder()
        .listen("/ip4/127.0.0.1/tcp/0")
        .rendezvous("readme/store")
        .bootstrap(nodes[0].addresses())
        .start()
        .await?;
    let store = StoreClient::new(&writer);
    store.wait_for(3).await?;
    use_it(&store).await
}

async fn use_it(store: &StoreClient) -> Result<(), Box<dyn std::error::Error>> {
    // Two of them have it now. The others get it too: without `keep_going` their calls are cancelled.
    store.put_all("answer".into(), 42).keep_going().quorum(2).await?;

    // Whoever answers first.
    let (peer, value) = store.get_all("answer".into()).timeout(Duration::from_secs(2)).first_ok().await?;
    println!("{peer} has {value:?}");

    // One after the other, until somebody has it. The next is asked when one has failed, has none, or is slow.
    let (peer, value) = store.any().get("answer".into()).validate(|_, value| value.is_some()).await?;
    println!("{peer} has {value:?}");

    // All that answered; an error that names each cause if nobody did.
    let found = store.get_all("answer".into()).await.into_ok()?;
    println!("{} of {} have it", found.iter().filter(|(_, value)| value.is_some()).count(), found.len());

    // Each as it comes.
    let mut replies = store.get_all("answer".into()).replies();
    while let Some((peer, reply)) = replies.next().await {
        match reply {
            Ok(value) => println!("{peer}: {value:?}"),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}
