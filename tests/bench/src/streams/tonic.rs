//! tonic over TCP with TLS, and its defaults but for the limit on messages.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use super::{Error, Pair};

const MAX_MESSAGE: usize = 8 << 20;

/// What is asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Asked {
    /// Items.
    #[prost(uint64, tag = "1")]
    pub count: u64,
    /// Bytes of each.
    #[prost(uint64, tag = "2")]
    pub size: u64,
}

/// An item.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Item {
    /// Its bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub bytes: ::p2prpc::bytes::Bytes,
}

#[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/bench.Numbers.rs"));
}
use generated::numbers_client::NumbersClient;
use generated::numbers_server::{Numbers, NumbersServer};

struct Service;

#[tonic::async_trait]
impl Numbers for Service {
    type ItemsStream = Pin<Box<dyn Stream<Item = Result<Item, Status>> + Send>>;

    async fn items(&self, request: Request<Asked>) -> Result<Response<Self::ItemsStream>, Status> {
        let Asked { count, size } = request.into_inner();
        let bytes = ::p2prpc::bytes::Bytes::from(vec![7; size as usize]);
        let items = futures::stream::iter((0..count).map(move |_| Ok(Item { bytes: bytes.clone() })));
        Ok(Response::new(items.boxed()))
    }
}

/// A server and a client.
pub async fn pair() -> Result<Pair, Error> {
    // It fails if that was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = certified.cert.pem();
    let identity = Identity::from_pem(&certificate, certified.signing_key.serialize_pem());
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?.with_nodelay(Some(true));
    let port = incoming.local_addr()?.port();
    let server = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))?
        .add_service(NumbersServer::new(Service).max_encoding_message_size(MAX_MESSAGE));
    let task = tokio::spawn(server.serve_with_incoming(incoming));
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificate)).domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}"))?.tcp_nodelay(true).tls_config(tls)?;
    let client = NumbersClient::new(endpoint.connect().await?).max_decoding_message_size(MAX_MESSAGE);
    let stream: super::Stream = Arc::new(move |count, size| {
        let mut client = client.clone();
        Box::pin(async move {
            let asked = Asked { count, size: size as u64 };
            let mut items = client.items(asked).await.expect("a stream of tonic failed").into_inner();
            let (mut first, mut come) = (None, 0);
            while let Some(item) = items.message().await.expect("a stream of tonic failed") {
                assert_eq!(item.bytes.len(), size);
                come += 1;
                first.get_or_insert_with(Instant::now);
            }
            assert_eq!(come, count);
            first.expect("an item")
        })
    });
    Ok(Pair { name: "tonic, TCP and TLS", stream, keep: Box::new(task) })
}
