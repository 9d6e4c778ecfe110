//! p2prpc at one end and go-libp2p-gorpc at the other: the same trait, in Go's dialect.

use std::sync::Arc;
use std::time::Duration;

use ::p2prpc::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Client, Error, Server, Transport};

/// Of the echo application, and of the Go program here.
const PROTOCOL: &str = "/p2p/rpc/ldej";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    message: String,
}

#[p2p_service(gorpc = "EchoRPCAPI")]
trait EchoService {
    async fn echo(&self, message: Envelope) -> Envelope;
}

struct Echo;

impl EchoService for Echo {
    async fn echo(&self, message: Envelope) -> Envelope {
        message
    }
}

pub(super) async fn serve(transport: Transport) -> Result<Server, Error> {
    let builder = Node::builder().listen(transport.loopback()).protocol(PROTOCOL).gorpc(true);
    let node = builder.serve(EchoServiceServer::new(Echo)).start().await?;
    let address = node.addresses().into_iter().next().ok_or("the server listens nowhere")?;
    Ok(Server { address: address.to_string(), keep: Box::new(node) })
}

pub(super) async fn connect(transport: Transport, address: &str) -> Result<Client, Error> {
    let node = Node::builder().listen(transport.loopback()).protocol(PROTOCOL).gorpc(true).start().await?;
    let peer = node.connect(address).await?;
    let stub = EchoServiceClient::new(&node).timeout(Duration::from_secs(30)).peer(peer);
    let echo = move |message| {
        let call = stub.echo(Envelope { message });
        Box::pin(async move { call.await.expect("an echo of gorpc failed").message }) as _
    };
    Ok(Client { echo: Arc::new(echo), keep: Box::new(node) })
}
