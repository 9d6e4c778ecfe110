//! What a service is after `#[p2p_service]`: called through a client without a network, codec and all.

#![allow(missing_docs)]

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use p2prpc::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    message: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MathError {
    ByZero,
}

impl fmt::Display for MathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("divided by zero")
    }
}

type Result<T, E = MathError> = std::result::Result<T, E>;

/// Echoes.
///
///  And calculates.
#[p2p_service]
pub trait EchoService {
    /// Send the message back.
    ///
    /// As it came.
    async fn echo(&self, msg: Envelope) -> Envelope;
    async fn divide(&self, cx: &Context, a: i64, b: i64) -> Result<i64>;
    #[rpc(idempotent)]
    async fn late_context(&self, name: String, _: &p2prpc::Context) -> String;
    #[rpc(spawn)]
    async fn nothing(&self);
    #[rpc(name = "Answer", idempotent, spawn)]
    async fn extend(&self, mut base: Vec<u8>, unused: String) -> std::result::Result<Vec<u8>, String> {
        let last = base.last().copied().ok_or("empty")?;
        base.push(last + 1);
        self.nothing().await;
        if base.len() > 3 {
            return Err(unused);
        }
        Ok(base)
    }
}

#[derive(Default)]
struct Echo {
    nothings: AtomicUsize,
}

impl EchoService for Echo {
    async fn echo(&self, msg: Envelope) -> Envelope {
        tokio::task::yield_now().await;
        msg
    }

    async fn divide(&self, cx: &Context, a: i64, b: i64) -> Result<i64> {
        assert!(cx.is_local());
        a.checked_div(b).ok_or(MathError::ByZero)
    }

    async fn late_context(&self, name: String, cx: &Context) -> String {
        format!("{name} {}", cx.metadata().get("key").unwrap_or("none"))
    }

    fn nothing(&self) -> impl Future<Output = ()> + Send {
        self.nothings.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    }
}

fn local() -> (EchoServiceClient, EchoServicePeer) {
    let client = EchoServiceClient::local(Echo::default());
    let peer = client.peer(client.local_peer_id().unwrap());
    (client, peer)
}

fn envelope(message: &str) -> Envelope {
    Envelope { message: message.to_owned() }
}

#[tokio::test]
async fn values_and_errors_arrive() {
    let (_client, peer) = local();
    assert_eq!(peer.echo(envelope("hello")).await.unwrap(), envelope("hello"));
    assert_eq!(peer.divide(7, 2).await.unwrap(), 3);
    let error: CallError<MathError> = peer.divide(7, 0).await.unwrap_err();
    assert_eq!(error.application(), Some(&MathError::ByZero));
    peer.nothing().await.unwrap();
}

#[tokio::test]
async fn a_default_body_is_an_async_fn_body() {
    let service = Arc::new(Echo::default());
    assert_eq!(service.extend(vec![1], String::new()).await.unwrap(), [1, 2]);
    assert_eq!(service.nothings.load(Ordering::Relaxed), 1);

    let (_client, peer) = local();
    assert_eq!(peer.extend(vec![1], String::new()).await.unwrap(), [1, 2]);
    let error = peer.extend(vec![], "unused".into()).await.unwrap_err();
    assert_eq!(error.application().unwrap(), "empty");
    let error = peer.extend(vec![1, 2, 3], "used".into()).await.unwrap_err();
    assert_eq!(error.application().unwrap(), "used");
}

#[tokio::test]
async fn clients_and_calls_take_options() {
    let (client, _peer) = local();
    let own = client.local_peer_id().unwrap();
    let client = client.metadata("key", "client").timeout(Duration::from_secs(5)).codec(CodecId::default());
    let client = client.rendezvous("nowhere");
    assert_eq!(client.peer(own).late_context("Ada".into()).await.unwrap(), "Ada client");
    let call = client.peer(own).late_context("Ada".into()).metadata("key", "call");
    assert_eq!(call.await.unwrap(), "Ada call");
}

#[tokio::test]
async fn many_peers_are_called() {
    let (client, _peer) = local();
    let own = client.local_peer_id().unwrap();
    let replies = client.peers([own, own]).echo(envelope("twice")).await;
    let echoed: Vec<_> = replies.ok().map(|(peer, echoed)| (peer, echoed.message.as_str())).collect();
    assert_eq!(echoed, [(own, "twice"), (own, "twice")]);

    assert_eq!(client.members(), [own]);
    assert_eq!(client.wait_for(1).await.unwrap(), [own]);
    assert_eq!(client.echo_all(envelope("all")).await.ok().next().unwrap(), (own, &envelope("all")));
    assert_eq!(client.all().echo(envelope("all")).await.ok().next().unwrap(), (own, &envelope("all")));

    let elsewhere = client.rendezvous("elsewhere");
    assert_eq!(elsewhere.members(), []);
    assert!(elsewhere.echo_all(envelope("nobody")).await.is_empty());
}

#[test]
fn the_service_tells_what_it_is() {
    let service = Service::from(EchoServiceServer::new(Echo::default()));
    assert_eq!(service.name(), "EchoService");
    assert_eq!(service.docs(), "Echoes.\n\n And calculates.");
    let methods: Vec<_> =
        service.methods().iter().map(|method| (method.name, method.full_name, method.spawn)).collect();
    let expected = [
        ("Echo", "EchoService.Echo", false),
        ("Divide", "EchoService.Divide", false),
        ("LateContext", "EchoService.LateContext", false),
        ("Nothing", "EchoService.Nothing", true),
        ("Answer", "EchoService.Answer", true),
    ];
    assert_eq!(methods, expected);
    assert_eq!(service.methods()[0].docs, "Send the message back.\n\nAs it came.");
    assert_eq!(service.methods()[1].docs, "");
}

#[test]
fn each_method_is_a_type() {
    fn of<M: Method>(_: &Call<M>) -> (&'static str, bool) {
        (M::NAME, M::IDEMPOTENT)
    }
    fn is_plain<T: Send + Unpin + 'static>(_: &T) {}

    let (client, peer) = local();
    let call: Call<echo_service::Echo> = peer.echo(envelope("lazy"));
    is_plain(&call);
    assert_eq!(of(&call), ("EchoService.Echo", false));
    assert_eq!(of(&peer.late_context(String::new())), ("EchoService.LateContext", true));
    assert_eq!(of(&peer.extend(vec![], String::new())), ("EchoService.Answer", true));
    let all: MultiCall<echo_service::Extend> = client.extend_all(vec![], String::new());
    is_plain(&all);
}

#[tokio::test]
async fn a_server_shares_its_service_and_asks_its_rules() {
    let service = Arc::new(Echo::default());
    let server = EchoServiceServer::from_arc(Arc::clone(&service));
    let clone = server.clone();
    assert!(Arc::ptr_eq(clone.inner(), &service));
    assert_eq!(format!("{server:?}"), "EchoServiceServer { .. }");

    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = server
        .authorize(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            true
        })
        .authorize(|call| call.method() != "Divide");
    let client = guest::GuestClient::local(server);
    let guest = client.peer(client.local_peer_id().unwrap());
    let error = guest.divide(1, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotServed);
    guest.nothing().await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    assert_eq!(service.nothings.load(Ordering::Relaxed), 1);
}

/// The same service as it was declared by someone else, who knows less of it.
mod guest {
    use p2prpc::prelude::*;

    #[p2p_service(name = "EchoService")]
    pub(super) trait Guest {
        async fn divide(&self, a: i64, b: i64) -> i64;
        async fn nothing(&self);
    }
}

/// As if it were one of the library's own, for which a node's rule isn't asked.
#[p2p_service(name = "p2prpc-admin", internal)]
trait Admin {
    async fn secret(&self) -> u8;
}

struct Secret;

impl Admin for Secret {
    async fn secret(&self) -> u8 {
        42
    }
}

#[tokio::test]
async fn nobody_serves_a_service_named_as_the_librarys_own() {
    let config = p2prpc::behaviour::Config::new("/app").unwrap();
    let behaviour = p2prpc::Behaviour::new(PeerId::random(), config);
    let error = behaviour.serve(AdminServer::new(Secret)).unwrap_err();
    assert_eq!(error, p2prpc::ServeError::Reserved("p2prpc-admin"));
    let started = Node::builder().listen("/ip4/127.0.0.1/tcp/0").serve(AdminServer::new(Secret)).start().await;
    assert!(started.unwrap_err().to_string().contains("p2prpc-admin"));
}

/// A trait may have methods of any name.
#[p2p_service(name = "any-name!")]
#[allow(clippy::wrong_self_convention)]
trait AnyName: Debug {
    async fn new(&self) -> u8;
    async fn peer(&self) -> u8;
    async fn peers(&self) -> u8;
    async fn all(&self) -> u8;
    async fn serve(&self) -> u8;
    async fn clone(&self) -> u8;
    async fn fmt(&self) -> u8;
    async fn drop(&self) -> u8;
    async fn call(&self) -> u8;
    async fn from(&self) -> u8;
    async fn into(&self) -> u8;
    async fn r#type(&self, r#type: u8) -> u8;
    async fn self_(&self) -> u8;
    async fn call_all(&self) -> u8;
    async fn local(&self, local: u8, client: u8) -> u8;
}

#[derive(Debug)]
struct Numbered;

impl AnyName for Numbered {
    async fn new(&self) -> u8 {
        1
    }
    async fn peer(&self) -> u8 {
        2
    }
    async fn peers(&self) -> u8 {
        3
    }
    async fn all(&self) -> u8 {
        4
    }
    async fn serve(&self) -> u8 {
        5
    }
    async fn clone(&self) -> u8 {
        6
    }
    async fn fmt(&self) -> u8 {
        7
    }
    async fn drop(&self) -> u8 {
        8
    }
    async fn call(&self) -> u8 {
        9
    }
    async fn from(&self) -> u8 {
        10
    }
    async fn into(&self) -> u8 {
        11
    }
    async fn r#type(&self, r#type: u8) -> u8 {
        r#type
    }
    async fn self_(&self) -> u8 {
        13
    }
    async fn call_all(&self) -> u8 {
        14
    }
    async fn local(&self, local: u8, client: u8) -> u8 {
        local + client
    }
}

#[tokio::test]
async fn methods_may_have_any_name() {
    let client = AnyNameClient::local(Numbered);
    let own = client.local_peer_id().unwrap();
    let peer = Clone::clone(&client.peer(own));
    let calls = [
        peer.new().await,
        peer.peer().await,
        peer.peers().await,
        peer.all().await,
        peer.serve().await,
        peer.clone().await,
        peer.fmt().await,
        peer.drop().await,
        peer.call().await,
        peer.from().await,
        AnyNamePeer::into(&peer).await,
        peer.r#type(12).await,
        peer.self_().await,
        peer.call_all().await,
        peer.local(7, 8).await,
    ];
    let numbers: Vec<u8> = calls.into_iter().map(|result| result.unwrap()).collect();
    assert_eq!(numbers, (1..=15).collect::<Vec<u8>>());

    let peers = client.peers([own]);
    assert_eq!(peers.clone().await.ok().next().unwrap(), (own, &6));
    assert_eq!(peers.r#type(12).await.ok().next().unwrap(), (own, &12));
    assert_eq!(client.new_all().await.ok().next().unwrap(), (own, &1));
    assert_eq!(client.type_all(12).await.ok().next().unwrap(), (own, &12));
    assert_eq!(client.call_all().await.ok().next().unwrap(), (own, &9));
    assert_eq!(client.call_all_all().await.ok().next().unwrap(), (own, &14));

    let service = Service::from(AnyNameServer::new(Numbered));
    let names: Vec<_> = service.methods().iter().map(|method| method.full_name).collect();
    assert_eq!((names[0], names[11], names[12]), ("any-name!.New", "any-name!.Type", "any-name!.Self"));
}

#[cfg(feature = "json")]
#[tokio::test]
async fn arguments_travel_by_name() {
    use serde_json::json;

    #[p2p_service]
    trait Greeter {
        async fn greet(
            &self,
            name: String,
            #[serde(default = "hello")]
            /// Was added later.
            greeting: String,
            #[serde(rename = "often", default)] times: u8,
        ) -> String;
    }

    fn hello() -> String {
        "Hello".to_owned()
    }

    type Args = <greeter::Greet as Method>::Args;
    let args: Args = serde_json::from_value(json!({"name": "Ada"})).unwrap();
    assert_eq!(serde_json::to_value(args).unwrap(), json!({"name": "Ada", "greeting": "Hello", "often": 0}));
}

/// A service inside a function sees the function's own types.
#[tokio::test]
async fn a_trait_may_stand_in_a_function() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Inner(u8);

    #[p2p_service]
    trait Local {
        async fn add(&self, inner: Inner) -> std::result::Result<Inner, String>;
    }

    struct One;
    impl Local for One {
        async fn add(&self, inner: Inner) -> std::result::Result<Inner, String> {
            inner.0.checked_add(1).map(Inner).ok_or_else(|| "too large".to_owned())
        }
    }

    let client = LocalClient::local(One);
    let peer = client.peer(client.local_peer_id().unwrap());
    assert_eq!(peer.add(Inner(1)).await.unwrap().0, 2);
    let error = peer.add(Inner(255)).await.unwrap_err();
    assert_eq!(error.application().unwrap(), "too large");
}
