//! tonic over TCP with TLS, its generated client and server, and its defaults but for the limit on messages.

use std::sync::Arc;

use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server as Transport, ServerTlsConfig};
use tonic::{Request, Response, Status};

use super::{Client, Error, Server};

const MAX_MESSAGE: usize = 8 << 20;

/// What travels.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Envelope {
    /// Any text.
    #[prost(string, tag = "1")]
    pub message: String,
}

#[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/bench.EchoService.rs"));
}
use generated::echo_service_client::EchoServiceClient;
use generated::echo_service_server::{EchoService, EchoServiceServer};

struct Echo;

#[tonic::async_trait]
impl EchoService for Echo {
    async fn echo(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

/// rustls wants to be told which of its providers to use where there could be several.
fn choose_provider() {
    // It fails if that was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The address is a port, and the certificate behind it.
pub(super) async fn serve() -> Result<Server, Error> {
    choose_provider();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = certified.cert.pem();
    let identity = Identity::from_pem(&certificate, certified.signing_key.serialize_pem());
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?.with_nodelay(Some(true));
    let port = incoming.local_addr()?.port();
    let service = EchoServiceServer::new(Echo).max_decoding_message_size(MAX_MESSAGE);
    let server = Transport::builder().tls_config(ServerTlsConfig::new().identity(identity))?.add_service(service);
    let task = tokio::spawn(server.serve_with_incoming(incoming));
    Ok(Server { address: format!("{port} {certificate}"), keep: Box::new(task) })
}

pub(super) async fn connect(address: &str) -> Result<Client, Error> {
    choose_provider();
    let (port, certificate) = address.split_once(' ').ok_or("an address is a port and a certificate")?;
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificate)).domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}"))?.tcp_nodelay(true).tls_config(tls)?;
    let client = EchoServiceClient::new(endpoint.connect().await?).max_decoding_message_size(MAX_MESSAGE);
    let echo = move |message| {
        let mut client = client.clone();
        Box::pin(async move {
            client.echo(Envelope { message }).await.expect("an echo of tonic failed").into_inner().message
        }) as _
    };
    Ok(Client { echo: Arc::new(echo), keep: Box::new(()) })
}
