//! tarpc over plain TCP, with its own transport and bincode, as its examples have it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{client, context, serde_transport, server};

use super::{Client, Error, Server};

/// Requests that may wait in the client, and in the server.
const PENDING: usize = 4096;
const MAX_FRAME: usize = 8 << 20;

#[tarpc::service]
trait EchoService {
    async fn echo(message: String) -> String;
}

#[derive(Clone)]
struct Echo;

impl EchoService for Echo {
    async fn echo(self, _: context::Context, message: String) -> String {
        message
    }
}

pub(super) async fn serve() -> Result<Server, Error> {
    let mut listener = serde_transport::tcp::listen("127.0.0.1:0", Bincode::default).await?;
    listener.config_mut().max_frame_length(MAX_FRAME);
    let address = listener.local_addr().to_string();
    let task = tokio::spawn(async move {
        while let Some(transport) = listener.next().await {
            let Ok(transport) = transport else { continue };
            if transport.get_ref().set_nodelay(true).is_err() {
                continue;
            }
            let config = server::Config { pending_response_buffer: PENDING };
            let channel = BaseChannel::new(config, transport);
            // A task a call, as its examples do.
            tokio::spawn(channel.execute(Echo.serve()).for_each(|response| async move {
                tokio::spawn(response);
            }));
        }
    });
    Ok(Server { address, keep: Box::new(task) })
}

pub(super) async fn connect(address: &str) -> Result<Client, Error> {
    let mut connecting = serde_transport::tcp::connect(address, Bincode::default);
    connecting.config_mut().max_frame_length(MAX_FRAME);
    let transport = connecting.await?;
    transport.get_ref().set_nodelay(true)?;
    let mut config = client::Config::default();
    config.max_in_flight_requests = PENDING;
    config.pending_request_buffer = PENDING;
    let client = EchoServiceClient::new(config, transport).spawn();
    let echo = move |message| {
        let client = client.clone();
        Box::pin(async move {
            let mut context = context::current();
            context.deadline = Instant::now() + Duration::from_secs(30);
            client.echo(context, message).await.expect("an echo of tarpc failed")
        }) as _
    };
    Ok(Client { echo: Arc::new(echo), keep: Box::new(()) })
}
