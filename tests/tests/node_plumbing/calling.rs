//! Calls between nodes, wherever the callee is.

use std::future::IntoFuture;
use std::time::{Duration, Instant};

use p2prpc::prelude::*;

use p2prpc_tests::hostile::{Got, PROTOCOL, RawPeer, encoded};

use super::support::{Worker, WorkshopClient, WorkshopServer, address, echoes, local, met, serving, soon, started};

#[p2p_service]
trait Extra {
    async fn more(&self) -> u8;
}

struct One;
impl Extra for One {
    async fn more(&self) -> u8 {
        1
    }
}

async fn call_at(listen: &str) {
    let server = started(Node::builder().listen(listen).serve(WorkshopServer::new(Worker))).await;
    let caller = started(Node::builder().listen(listen)).await;
    caller.connect(address(&server)).await.unwrap();
    let who = WorkshopClient::new(&caller).peer(server.peer_id()).who().await.unwrap();
    assert_eq!(who, caller.peer_id().to_string());
}

/// A peer that answers no pings, of ours or of libp2p's, and takes longer than a silent peer is given.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_call_of_a_peer_that_knows_no_pings_is_waited_for() {
    const TAKES: Duration = Duration::from_secs(20);
    let mut mute = RawPeer::start().await;
    let at = mute.address().with_p2p(mute.id()).unwrap();
    let node = started(local().protocol(PROTOCOL).bootstrap([at])).await;
    let call = WorkshopClient::new(&node).timeout(TAKES * 2).peer(mute.id()).echo("x".into());
    let call = tokio::spawn(call.into_future());
    soon("it is connected", mute.connection()).await;
    let mut stream = soon("it is called", mute.accept()).await;
    stream.hello().await;
    let mut asked = Vec::new();
    while asked.is_empty() {
        match soon("it is called", stream.next()).await {
            Some(Got::Request { id, method, .. }) if method == "Workshop.Echo" => asked.push(id),
            // Who it is, asked of it as of each peer.
            Some(Got::Hello | Got::Request { .. } | Got::Body { .. } | Got::Cancel { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    tokio::time::sleep(TAKES).await;
    assert!(!call.is_finished());
    stream.respond(asked[0], &encoded(&"at last")).await;
    assert_eq!(soon("it is answered", call).await.unwrap().unwrap(), "at last");
    assert_eq!(mute.connections_since(), 0, "one connection was enough");
}

#[tokio::test]
async fn over_tcp() {
    call_at("/ip4/127.0.0.1/tcp/0").await;
}

#[tokio::test]
async fn over_tcp_on_ipv6() {
    call_at("/ip6/::1/tcp/0").await;
}

#[tokio::test]
async fn over_quic() {
    call_at("/ip4/127.0.0.1/udp/0/quic-v1").await;
}

#[tokio::test]
async fn over_quic_on_ipv6() {
    call_at("/ip6/::1/udp/0/quic-v1").await;
}

#[tokio::test]
async fn to_all_members() {
    let hub = started(serving()).await;
    let one = started(serving().bootstrap([address(&hub)])).await;
    let other = started(serving().bootstrap([address(&hub)])).await;
    let client = WorkshopClient::new(&one);
    let members = soon("both", client.wait_for(2)).await.unwrap();
    assert!(members.contains(&hub.peer_id()) && members.contains(&other.peer_id()));
    let replies = client.echo_all("hello".into()).await;
    assert_eq!(replies.len(), 2);
    assert!(replies.ok().all(|(_, word)| word == "hello") && replies.errors().next().is_none(), "{replies:?}");
}

#[tokio::test]
async fn to_oneself() {
    let node = started(serving()).await;
    let client = WorkshopClient::new(&node);
    assert_eq!(client.peer(node.peer_id()).who().await.unwrap(), node.peer_id().to_string());
}

#[tokio::test]
async fn before_it_starts_and_after_it_has_ended() {
    let builder = serving();
    let client = WorkshopClient::new(builder.handle());
    let peer = PeerId::random();
    let error = client.peer(peer).echo("hello".into()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotStarted, Delivery::NeverSent));
    let node = started(builder).await;
    let itself = node.peer_id();
    assert_eq!(client.peer(itself).echo("hello".into()).await.unwrap(), "hello");
    node.shutdown(Duration::ZERO).await;
    let error = client.peer(itself).echo("hello".into()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Closed, Delivery::NeverSent));
}

#[tokio::test]
async fn to_a_peer_whose_address_was_given() {
    let server = started(serving()).await;
    let caller = started(Node::builder().listen("/ip4/127.0.0.1/tcp/0")).await;
    caller.add_address(server.peer_id(), address(&server)).unwrap();
    echoes(&caller, server.peer_id()).await;
}

#[tokio::test]
async fn to_a_peer_whose_address_only_the_dht_knows() {
    let hub = started(Node::builder().listen("/ip4/127.0.0.1/tcp/0")).await;
    let join = || Node::builder().listen("/ip4/127.0.0.1/tcp/0").bootstrap([address(&hub)]);
    let server = started(join().serve(WorkshopServer::new(Worker))).await;
    let caller = started(join()).await;
    // It isn't known to anyone before both have joined.
    let client = WorkshopClient::new(&caller);
    let call = async {
        while let Err(error) = client.peer(server.peer_id()).echo("hello".into()).await {
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unreachable, Delivery::NeverSent));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("it is found", call).await;
}

#[tokio::test]
async fn to_a_peer_that_nobody_knows() {
    let hub = started(local()).await;
    let caller = started(local().bootstrap([address(&hub)])).await;
    met(&hub, &caller).await;
    let started = Instant::now();
    let error = WorkshopClient::new(&caller).peer(PeerId::random()).echo("hello".into()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unreachable, Delivery::NeverSent));
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[tokio::test]
async fn to_a_peer_that_is_gone_the_source_is_what_the_system_said() {
    let (caller, server) = (started(local()).await, started(serving()).await);
    let peer = server.peer_id();
    caller.add_address(peer, address(&server)).unwrap();
    server.shutdown(Duration::ZERO).await;
    let error = WorkshopClient::new(&caller).peer(peer).echo("hello".into()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unreachable, Delivery::NeverSent));
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<std::io::Error>());
    assert_eq!(source.map(std::io::Error::kind), Some(std::io::ErrorKind::ConnectionRefused), "{error:?}");
}

#[tokio::test]
async fn to_a_peer_that_is_blocked() {
    let server = started(serving()).await;
    let caller = started(local()).await;
    caller.add_address(server.peer_id(), address(&server)).unwrap();
    echoes(&caller, server.peer_id()).await;
    caller.block(server.peer_id());
    let client = WorkshopClient::new(&caller);
    let refused = async {
        loop {
            // Calls that are faster than the closing of the connection are answered, or lost with it.
            match client.peer(server.peer_id()).echo("hello".into()).await {
                Err(error) if error.kind() == ErrorKind::Unreachable => return error,
                _ => {}
            }
        }
    };
    assert_eq!(soon("it is refused", refused).await.delivery(), Delivery::NeverSent);
    caller.unblock(server.peer_id());
    echoes(&caller, server.peer_id()).await;
}

#[tokio::test]
async fn to_a_service_that_came_later() {
    let server = started(serving()).await;
    let caller = started(local().bootstrap([address(&server)])).await;
    soon("the first", WorkshopClient::new(&caller).wait_for(1)).await.unwrap();
    let client = ExtraClient::new(&caller);
    assert!(client.members().is_empty());
    server.serve(ExtraServer::new(One)).unwrap();
    assert!(server.serve(ExtraServer::new(One)).is_err());
    soon("the second", client.wait_for(1)).await.unwrap();
    assert_eq!(client.more_all().await.ok().map(|(_, n)| *n).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn only_what_is_visible_is_asked_of_all() {
    let server = started(serving().serve(ExtraServer::new(One)).visible(|_, service| service != "Extra")).await;
    let caller = started(local().bootstrap([address(&server)])).await;
    soon("the visible one", WorkshopClient::new(&caller).wait_for(1)).await.unwrap();
    let client = ExtraClient::new(&caller);
    assert!(client.members().is_empty());
    // It isn't shown, and it isn't forbidden.
    assert_eq!(client.peer(server.peer_id()).more().await.unwrap(), 1);
}

#[tokio::test]
async fn only_what_is_authorized_is_run_and_members_are_found_all_the_same() {
    let server = started(serving().authorize(|call| call.method() == "Echo").authorize(|_| true)).await;
    let caller = started(local().bootstrap([address(&server)])).await;
    met(&server, &caller).await;
    echoes(&caller, server.peer_id()).await;
    let error = WorkshopClient::new(&caller).peer(server.peer_id()).who().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotServed);
}

#[tokio::test]
async fn a_node_refuses_two_services_of_one_name() {
    let error = serving().serve(WorkshopServer::new(Worker)).start().await.unwrap_err();
    assert!(error.to_string().contains("Workshop"), "{error}");
}

/// Says of itself whether it came in a form that people can read.
struct Form(bool);

impl serde::Serialize for Form {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let readable = serializer.is_human_readable();
        serializer.serialize_bool(readable)
    }
}

impl<'de> serde::Deserialize<'de> for Form {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bool::deserialize(deserializer).map(Form)
    }
}

#[p2p_service]
trait Forms {
    async fn is_readable(&self, form: Form) -> bool;
}

struct Reader;

impl Forms for Reader {
    async fn is_readable(&self, form: Form) -> bool {
        form.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_codec_of_the_node_unless_the_client_or_the_call_says_otherwise() {
    let server = started(local().serve(FormsServer::new(Reader))).await;
    let caller = started(local().codec(CodecId::JSON).bootstrap([address(&server)])).await;
    let client = FormsClient::new(&caller);
    soon("nodes know each other in any codec", client.wait_for(1)).await.unwrap();
    let there = || client.peer(server.peer_id());
    assert!(there().is_readable(Form(false)).await.unwrap());
    assert!(!there().is_readable(Form(false)).codec(CodecId::POSTCARD).await.unwrap());
    let positional = client.clone().codec(CodecId::BINCODE);
    assert!(!positional.peer(server.peer_id()).is_readable(Form(false)).await.unwrap());
    assert!(positional.peer(server.peer_id()).is_readable(Form(false)).codec(CodecId::JSON).await.unwrap());
    let all = client.is_readable_all(Form(false)).await.into_ok().unwrap();
    assert!(all.into_iter().all(|(_, readable)| readable));
    let error = local().codec(CodecId::new(99)).start().await.unwrap_err();
    assert!(error.to_string().contains("not compiled in"), "{error}");
}
