//! Nodes of two versions side by side: a method that was renamed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use p2prpc::prelude::*;
use p2prpc_tests::{Peer, connect, soon};

mod old {
    use p2prpc::prelude::*;

    #[p2p_service]
    pub trait Names {
        async fn look_up(&self, name: String) -> String;
    }
}

#[p2p_service]
trait Names {
    #[rpc(or = "LookUp")]
    async fn resolve(&self, name: String) -> String;
}

#[derive(Clone, Default)]
struct Counting(Arc<AtomicU64>);

impl Names for Counting {
    async fn resolve(&self, name: String) -> String {
        self.0.fetch_add(1, Ordering::SeqCst);
        format!("new {name}")
    }
}

impl old::Names for Counting {
    async fn look_up(&self, name: String) -> String {
        self.0.fetch_add(1, Ordering::SeqCst);
        format!("old {name}")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_has_a_method_by_its_old_name_is_called_by_that() {
    let counted = Counting::default();
    let (before, after) = (
        Peer::serving(old::NamesServer::new(counted.clone())).await,
        Peer::serving(NamesServer::new(counted.clone())).await,
    );
    let (neither, caller) = (Peer::start().await, Peer::start().await);
    for server in [&before, &after, &neither] {
        connect(&caller, server).await;
    }
    let names = NamesClient::new(&caller);
    for _ in 0..3 {
        assert_eq!(names.peer(before.id()).resolve("a".into()).await.unwrap(), "old a");
        assert_eq!(names.peer(after.id()).resolve("a".into()).await.unwrap(), "new a");
        let error = names.peer(neither.id()).resolve("a".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotServed, Delivery::NeverSent));
        assert_eq!(error.method(), Some("Names.Resolve"));
    }
    assert_eq!(counted.0.load(Ordering::SeqCst), 6, "each ran once");
    let many = soon("all", names.peers([before.id(), after.id()]).resolve("b".into())).await;
    let answers: Vec<_> = many.ok().map(|(_, answer)| answer.as_str()).collect();
    assert_eq!(answers, ["old b", "new b"]);
    // A large one is kept as well until it is known by which name it goes.
    let large = "x".repeat(1 << 20);
    assert_eq!(names.peer(before.id()).resolve(large.clone()).await.unwrap().len(), large.len() + 4);
}
