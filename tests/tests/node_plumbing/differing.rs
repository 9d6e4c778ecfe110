//! Peers whose builds of a trait differ.

use futures::StreamExt;
use p2prpc::prelude::*;

use super::support::{address, first, local, met, soon, started};

mod before {
    use p2prpc::prelude::*;

    #[p2p_service]
    pub(crate) trait Store {
        async fn put(&self, key: u64, value: u64) -> bool;
        async fn get(&self, key: u64) -> Option<u64>;
    }
}

mod after {
    use p2prpc::prelude::*;

    #[p2p_service]
    pub(crate) trait Store {
        async fn put(&self, value: i64, key: u64) -> bool;
        async fn get(&self, key: u64) -> Option<u64>;
    }
}

struct Kept;

impl before::Store for Kept {
    async fn put(&self, key: u64, value: u64) -> bool {
        key < value
    }
    async fn get(&self, key: u64) -> Option<u64> {
        Some(key)
    }
}

impl after::Store for Kept {
    async fn put(&self, value: i64, key: u64) -> bool {
        value < 0 && key == 0
    }
    async fn get(&self, key: u64) -> Option<u64> {
        Some(key)
    }
}

fn put_differs(peer: PeerId) -> NodeEvent {
    NodeEvent::MethodDiffers { peer, method: "Store.Put".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_that_serve_it_are_told_once_they_are_members() {
    let old = started(local().serve(before::StoreServer::new(Kept))).await;
    let new = started(local().serve(after::StoreServer::new(Kept)).bootstrap([address(&old)])).await;
    let mut events = new.events();
    met(&old, &new).await;
    soon("it is told", first(&mut events, |event| *event == put_differs(old.peer_id()))).await;
    soon("so is the other", first(old.events(), |event| *event == put_differs(new.peer_id()))).await;
    // It is called all the same, and not told of again; neither is what is the same.
    let stub = after::StoreClient::new(&new).peer(old.peer_id());
    for _ in 0..3 {
        assert!(stub.put(-1, 0).await.is_ok());
        assert_eq!(stub.get(7).await.unwrap(), Some(7));
    }
    let left = NodeEvent::PeerLeft { peer: old.peer_id() };
    old.shutdown(std::time::Duration::ZERO).await;
    let mut since = Vec::new();
    while let Some(event) = soon("it leaves", events.next()).await {
        if event == left {
            break;
        }
        since.push(event);
    }
    assert!(!since.iter().any(|event| matches!(event, NodeEvent::MethodDiffers { .. })), "{since:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_only_calls_is_told_with_the_first_call_and_by_the_switch_makes_none() {
    let old = started(local().serve(before::StoreServer::new(Kept))).await;
    let caller = started(local().bootstrap([address(&old)])).await;
    met(&old, &caller).await;
    let stub = after::StoreClient::new(&caller).peer(old.peer_id());
    assert!(stub.put(-1, 0).await.is_ok());
    soon("it is told", first(caller.events(), |event| *event == put_differs(old.peer_id()))).await;

    let strict = started(local().strict_methods(true).bootstrap([address(&old)])).await;
    met(&old, &strict).await;
    let stub = after::StoreClient::new(&strict).peer(old.peer_id());
    let error = stub.put(-1, 0).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadArguments, Delivery::NeverSent));
    assert!(error.to_string().contains("declared the method otherwise"), "{error}");
    assert_eq!(stub.get(7).await.unwrap(), Some(7));
    // By name nothing is taken for something else.
    let error = stub.put(-1, 0).codec(CodecId::JSON).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("declared")), (ErrorKind::BadArguments, false), "{error}");
    let stub = before::StoreClient::new(&strict).peer(old.peer_id());
    assert!(stub.put(1, 2).await.unwrap());
}
