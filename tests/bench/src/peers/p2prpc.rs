//! p2prpc: the macro-made client and server, as the README shows them, with all limits on.

use ::p2prpc::prelude::*;
use std::time::Duration;

#[p2p_service]
trait EchoService {
    async fn echo(&self, message: String) -> String;
}

struct Echo;

impl EchoService for Echo {
    async fn echo(&self, message: String) -> String {
        message
    }
}

/// Two nodes, connected, in this process.
#[derive(Debug)]
pub struct Pair {
    _server: Node,
    client: Node,
    peer: PeerId,
}

impl Pair {
    /// Start both on loopback.
    ///
    /// # Errors
    /// If a node can't be started or connected.
    pub async fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0").serve(EchoServiceServer::new(Echo)).start().await?;
        let client = Node::builder().listen("/ip4/127.0.0.1/tcp/0").start().await?;
        let address = server.addresses().into_iter().next().ok_or("the server listens nowhere")?;
        let peer = client.connect(address).await?;
        Ok(Pair { _server: server, client, peer })
    }

    /// What a caller calls.
    pub fn caller(&self) -> impl Fn(String) -> futures::future::BoxFuture<'static, String> + Clone + Send + 'static {
        let stub = EchoServiceClient::new(&self.client).timeout(Duration::from_secs(30)).peer(self.peer);
        move |message| {
            let call = stub.echo(message);
            Box::pin(async move { call.await.expect("an echo of p2prpc failed") })
        }
    }
}
