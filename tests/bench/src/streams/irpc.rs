//! irpc over iroh, without relays and address lookup.

use std::sync::Arc;
use std::time::Instant;

use iroh::endpoint::{Connection, RelayMode, presets};
use iroh::protocol::{AcceptError, ProtocolHandler, Router};
use iroh::{Endpoint, EndpointAddr};
use irpc::channel::mpsc;
use irpc::{WithChannels, rpc_requests};
use irpc_iroh::{IrohRemoteConnection, read_request};
use serde::{Deserialize, Serialize};

use super::{Error, Pair};

const ALPN: &[u8] = b"bench/numbers/1";

#[derive(Debug, Serialize, Deserialize)]
struct Items {
    count: u64,
    size: usize,
}

#[rpc_requests(message = NumbersMessage)]
#[derive(Debug, Serialize, Deserialize)]
enum NumbersProtocol {
    #[rpc(tx=mpsc::Sender<p2prpc::bytes::Bytes>)]
    Items(Items),
}

#[derive(Clone, Debug)]
struct Service;

impl ProtocolHandler for Service {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        while let Some(NumbersMessage::Items(message)) = read_request::<NumbersProtocol>(&connection).await? {
            tokio::spawn(async move {
                let WithChannels { tx, inner, .. } = message;
                let item = p2prpc::bytes::Bytes::from(vec![7; inner.size]);
                for _ in 0..inner.count {
                    if tx.send(item.clone()).await.is_err() {
                        return;
                    }
                }
            });
        }
        connection.closed().await;
        Ok(())
    }
}

async fn endpoint() -> Result<Endpoint, Error> {
    let builder = Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled).clear_ip_transports();
    Ok(builder.bind_addr("127.0.0.1:0")?.bind().await?)
}

/// A server and a client.
pub async fn pair() -> Result<Pair, Error> {
    let (server, client) = (endpoint().await?, endpoint().await?);
    let address = server.bound_sockets().into_iter().fold(EndpointAddr::new(server.id()), EndpointAddr::with_ip_addr);
    let router = Router::builder(server).accept(ALPN, Service).spawn();
    let connection = client.connect(address, ALPN).await?;
    let calls = irpc::Client::<NumbersProtocol>::boxed(IrohRemoteConnection::new(connection));
    let stream: super::Stream = Arc::new(move |count, size| {
        let calls = calls.clone();
        Box::pin(async move {
            let mut items = calls.server_streaming(Items { count, size }, 64).await.expect("a stream of irpc failed");
            let (mut first, mut come) = (None, 0);
            while let Some(item) = items.recv().await.expect("a stream of irpc failed") {
                assert_eq!(item.len(), size);
                come += 1;
                first.get_or_insert_with(Instant::now);
            }
            assert_eq!(come, count);
            first.expect("an item")
        })
    });
    Ok(Pair { name: "irpc, iroh (QUIC)", stream, keep: Box::new((router, client)) })
}
