//! p2prpc: the macro-made client and server, as the README shows them, with all limits on.

use std::sync::Arc;
use std::time::Duration;

use ::p2prpc::prelude::*;

use super::{Client, Error, Server, Transport};

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

pub(super) async fn serve(transport: Transport) -> Result<Server, Error> {
    let node = Node::builder().listen(transport.loopback()).serve(EchoServiceServer::new(Echo)).start().await?;
    let address = node.addresses().into_iter().next().ok_or("the server listens nowhere")?;
    Ok(Server { address: address.to_string(), keep: Box::new(node) })
}

pub(super) async fn connect(transport: Transport, address: &str) -> Result<Client, Error> {
    let node = Node::builder().listen(transport.loopback()).start().await?;
    let peer = node.connect(address).await?;
    let stub = EchoServiceClient::new(&node).timeout(Duration::from_secs(30)).peer(peer);
    let echo = move |message| {
        let call = stub.echo(message);
        Box::pin(async move { call.await.expect("an echo of p2prpc failed") }) as _
    };
    Ok(Client { echo: Arc::new(echo), keep: Box::new(node) })
}
