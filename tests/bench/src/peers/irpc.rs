//! irpc over iroh: as its example of a server with shared state, without relays and address lookup.

use std::sync::Arc;

use iroh::endpoint::{Connection, RelayMode, presets};
use iroh::protocol::{AcceptError, ProtocolHandler, Router};
use iroh::{Endpoint, EndpointAddr};
use irpc::channel::oneshot;
use irpc::{WithChannels, rpc_requests};
use irpc_iroh::{IrohRemoteConnection, read_request};
use serde::{Deserialize, Serialize};

use super::{Client, Error, Server};

const ALPN: &[u8] = b"bench/echo/1";

#[derive(Debug, Serialize, Deserialize)]
struct Echo {
    message: String,
}

#[rpc_requests(message = EchoMessage)]
#[derive(Debug, Serialize, Deserialize)]
enum EchoProtocol {
    #[rpc(tx=oneshot::Sender<String>)]
    Echo(Echo),
}

#[derive(Clone, Debug)]
struct EchoServer;

impl ProtocolHandler for EchoServer {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        while let Some(EchoMessage::Echo(message)) = read_request::<EchoProtocol>(&connection).await? {
            let WithChannels { tx, inner, .. } = message;
            let _ = tx.send(inner.message).await;
        }
        connection.closed().await;
        Ok(())
    }
}

async fn endpoint() -> Result<Endpoint, Error> {
    let builder = Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled).clear_ip_transports();
    Ok(builder.bind_addr("127.0.0.1:0")?.bind().await?)
}

pub(super) async fn serve() -> Result<Server, Error> {
    let endpoint = endpoint().await?;
    let addresses = endpoint.bound_sockets();
    let address = addresses.into_iter().fold(EndpointAddr::new(endpoint.id()), EndpointAddr::with_ip_addr);
    let router = Router::builder(endpoint).accept(ALPN, EchoServer).spawn();
    Ok(Server { address: serde_json::to_string(&address)?, keep: Box::new(router) })
}

pub(super) async fn connect(address: &str) -> Result<Client, Error> {
    let endpoint = endpoint().await?;
    let address: EndpointAddr = serde_json::from_str(address)?;
    let connection = endpoint.connect(address, ALPN).await?;
    let client = irpc::Client::<EchoProtocol>::boxed(IrohRemoteConnection::new(connection));
    let echo = move |message| {
        let client = client.clone();
        Box::pin(async move { client.rpc(Echo { message }).await.expect("an echo of irpc failed") }) as _
    };
    Ok(Client { echo: Arc::new(echo), keep: Box::new(endpoint) })
}
