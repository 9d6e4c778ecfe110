//! What a service's own tests need: it is called with its rules, as any peer, and its handlers run without a call.

#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use p2prpc::Metadata;
use p2prpc::prelude::*;

#[p2p_service]
trait Vault {
    async fn open(&self, cx: &Context, code: u32) -> Result<String, String>;
    async fn count(&self) -> u32;
}

struct Safe;

impl Vault for Safe {
    async fn open(&self, cx: &Context, code: u32) -> Result<String, String> {
        assert!(cx.remaining() <= Duration::from_secs(10));
        match code {
            7 => Ok(format!("{} {}", cx.peer(), cx.metadata().get("trace").unwrap_or("untraced"))),
            _ => Err("wrong".into()),
        }
    }

    async fn count(&self) -> u32 {
        1
    }
}

#[tokio::test]
async fn rules_are_asked_and_the_caller_is_of_the_tests_choice() {
    let (friend, stranger) = (PeerId::random(), PeerId::random());
    let server = VaultServer::new(Safe).authorize(move |call| call.peer() == friend);
    let client = VaultClient::local_as(friend, server.clone()).metadata("trace", "1");
    let vault = client.peer(client.local_peer_id().unwrap());
    assert_eq!(vault.open(7).await.unwrap(), format!("{friend} 1"));
    assert_eq!(vault.open(8).await.unwrap_err().application().unwrap(), "wrong");

    let client = VaultClient::local_as(stranger, server.clone());
    let error = client.peer(client.local_peer_id().unwrap()).open(7).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotServed);

    let client = VaultClient::local(Service::from(server));
    let error = client.peer(client.local_peer_id().unwrap()).open(7).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotServed);
}

#[tokio::test]
async fn a_handler_runs_with_a_context_of_the_tests() {
    let peer = PeerId::random();
    let mut metadata = Metadata::default();
    metadata.insert("trace", "2").unwrap();
    let cx = Context::for_tests(peer).with_metadata(metadata).with_timeout(Duration::from_secs(3));
    assert_eq!(Safe.open(&cx, 7).await.unwrap(), format!("{peer} 2"));
    assert!(!cx.is_local() && cx.remaining() <= Duration::from_secs(3));
    let error = VaultClient::new(&cx).peer(peer).count().await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotStarted, Delivery::NeverSent));
}

#[tokio::test]
async fn results_of_many_become_a_list_a_map_or_an_error() -> Result<(), Box<dyn Error>> {
    let client = VaultClient::local(Safe);
    let own = client.local_peer_id()?;
    assert_eq!(client.count_all().await.into_ok()?, [(own, 1)]);
    let map: BTreeMap<PeerId, _> = client.count_all().await.into_iter().collect();
    assert!(map[&own].is_ok());

    let failed = client.peers([own, own]).open(1).await.into_ok().unwrap_err();
    let text = failed.to_string();
    assert!(
        text.contains("2 of 2 peers failed") && text.contains("wrong") && text.contains(&own.to_string()),
        "{text}"
    );
    assert_eq!(failed.errors().count(), 2);

    let nobody = client.peers([]).count().first_ok().await.unwrap_err();
    assert!(nobody.is_empty() && nobody.failure().is_none());
    assert!(nobody.to_string().contains("nobody was asked"), "{nobody}");
    assert!(client.peers([]).count().await.into_ok()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_node_that_is_not_there_is_no_empty_success() {
    let unstarted = VaultClient::new(Node::builder().handle());
    let replies = unstarted.count_all().await;
    assert_eq!(replies.failure().unwrap().kind(), ErrorKind::NotStarted);
    assert!(replies.into_ok().unwrap_err().to_string().contains("not been started"));

    let node = Node::builder().listen("/ip4/127.0.0.1/tcp/0").start().await.unwrap();
    let client = VaultClient::new(&node);
    assert!(client.count_all().await.into_ok().unwrap().is_empty());
    drop(node);
    let closed = async {
        while client.local_peer_id().is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), closed).await.unwrap();
    let replies = client.count_all().await;
    assert_eq!(replies.failure().unwrap().kind(), ErrorKind::Closed);
    assert!(format!("{replies:?}").contains("Closed"), "{replies:?}");
    assert_eq!(client.count_all().first_ok().await.unwrap_err().failure().unwrap().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn an_error_says_what_it_came_of() {
    let client = VaultClient::local(Safe).codec(CodecId::new(99));
    let error = client.peer(client.local_peer_id().unwrap()).count().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedCodec);
    assert!(error.source().is_some_and(|source| source.is::<p2prpc::codec::CodecError>()), "{error:?}");
}

#[tokio::test]
async fn a_service_is_served_no_more_and_a_node_that_others_hold_is_closed() {
    let node = Node::builder().listen("/ip4/127.0.0.1/tcp/0").serve(VaultServer::new(Safe)).start().await.unwrap();
    let node = std::sync::Arc::new(node);
    let own = VaultClient::new(&*node).peer(node.peer_id());
    assert_eq!(own.count().await.unwrap(), 1);
    assert!(node.unserve("Vault"));
    assert!(!node.unserve("Vault") && !node.unserve("p2prpc-membership"));
    assert_eq!(own.count().await.unwrap_err().kind(), ErrorKind::NotServed);
    node.serve(VaultServer::new(Safe)).unwrap();
    assert_eq!(own.count().await.unwrap(), 1);
    node.clone().close(Duration::from_secs(1)).await;
    assert_eq!(own.count().await.unwrap_err().kind(), ErrorKind::Closed);
}
