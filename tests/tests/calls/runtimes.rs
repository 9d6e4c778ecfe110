//! Calls from other runtimes than the node's, and from none; and nodes whose runtime has ended, or isn't driven.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use p2prpc::StartError;
use p2prpc::prelude::*;
use tokio::runtime::{Builder, Runtime};

const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/0";
const TIMEOUT: Duration = Duration::from_secs(1);

#[p2p_service]
trait Work {
    async fn sleep(&self, ms: u64) -> u64;
    #[rpc(idempotent)]
    async fn again(&self) -> u64;
}

struct Worker;

impl Work for Worker {
    async fn sleep(&self, ms: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        ms
    }

    async fn again(&self) -> u64 {
        7
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn server() -> Node {
    Node::builder().listen(LOOPBACK).rendezvous("r").serve(WorkServer::new(Worker)).start().await.unwrap()
}

/// A node that has called the other.
async fn caller(server: &Node) -> Node {
    let node = Node::builder().listen(LOOPBACK).rendezvous("r").bootstrap(server.addresses());
    let node = node.serve(WorkServer::new(Worker)).start().await.unwrap();
    let client = WorkClient::new(&node);
    client.wait_for(1).await.unwrap();
    client.peer(server.peer_id()).sleep(0).await.unwrap();
    node
}

async fn in_time<T: Debug>(call: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(TIMEOUT + Duration::from_secs(2), call).await;
    ended.expect("a call ends at its deadline")
}

#[test]
fn a_call_ends_with_the_runtime_of_its_node() {
    let (other, own) = (runtime(), runtime());
    let server = other.block_on(server());
    let node = own.block_on(caller(&server));
    let client = WorkClient::new(&node).timeout(Duration::from_secs(60));
    let there = client.peer(server.peer_id());
    let call = other.spawn(there.sleep(60_000));
    let own_call = other.spawn(client.peer(node.peer_id()).sleep(60_000));
    std::thread::sleep(Duration::from_millis(200));
    drop(own);
    let began = Instant::now();
    other.block_on(async {
        let error = in_time(call).await.unwrap().unwrap_err();
        assert_eq!(error.delivery(), Delivery::MayHaveRun, "{error}");
        in_time(own_call).await.unwrap().unwrap_err();
        let error = in_time(there.sleep(0)).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Closed, Delivery::NeverSent), "{error}");
        in_time(client.peer(PeerId::random()).sleep(0)).await.unwrap_err();
        in_time(client.peer(node.peer_id()).sleep(0)).await.unwrap_err();
        assert_eq!(in_time(client.wait_for(5)).await.unwrap_err().kind(), ErrorKind::Closed);
        in_time(node.connect("/ip4/127.0.0.1/tcp/1")).await.unwrap_err();
        in_time(node.shutdown(TIMEOUT)).await;
    });
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_call_keeps_its_deadline_while_its_node_is_not_driven() {
    let (other, own) = (runtime(), Builder::new_current_thread().enable_all().build().unwrap());
    let server = other.block_on(server());
    let node = own.block_on(caller(&server));
    let client = WorkClient::new(&node).timeout(TIMEOUT);
    other.block_on(async {
        let error = in_time(client.peer(server.peer_id()).sleep(60_000)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        in_time(client.peer(PeerId::random()).sleep(0)).await.unwrap_err();
        in_time(client.peer(node.peer_id()).sleep(0)).await.unwrap_err();
        assert_eq!(in_time(async { client.sleep_all(60_000).await }).await.errors().count(), 1);
    });
}

#[test]
fn whoever_calls_first_may_go() {
    let (other, own) = (runtime(), runtime());
    let server = other.block_on(server());
    let node = own.block_on(caller(&server));
    let client = WorkClient::new(&node).timeout(TIMEOUT);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stranger = PeerId::random();
    node.add_address(stranger, format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port())).unwrap();
    let short = Builder::new_current_thread().enable_all().build().unwrap();
    short.block_on(async {
        let call = client.peer(stranger).sleep(0);
        let _ = tokio::time::timeout(Duration::from_millis(100), call).await;
    });
    drop(short);
    own.block_on(async {
        let error = in_time(client.peer(stranger).sleep(0)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(in_time(client.peer(server.peer_id()).sleep(1)).await.unwrap(), 1);
    });
}

#[test]
fn calls_outside_of_a_runtime_are_made_on_the_nodes() {
    let own = runtime();
    let (server, node) = own.block_on(async {
        let server = server().await;
        let node = caller(&server).await;
        (server, node)
    });
    let client = WorkClient::new(&node).timeout(TIMEOUT);
    let there = client.peer(server.peer_id());
    assert_eq!(block_on(there.sleep(10)).unwrap(), 10);
    assert_eq!(block_on(there.again()).unwrap(), 7);
    assert_eq!(block_on(client.peer(node.peer_id()).sleep(10)).unwrap(), 10);
    assert_eq!(block_on(there.sleep(60_000)).unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    block_on(client.peer(PeerId::random()).sleep(0)).unwrap_err();
    let replies = block_on(async { client.peers([server.peer_id(); 3]).sleep(10).concurrency(1).await });
    assert_eq!(replies.ok().count(), 3);
    assert_eq!(block_on(client.wait_for(1)).unwrap(), [server.peer_id()]);
    assert_eq!(block_on(node.connect(server.addresses()[0].clone())).unwrap(), server.peer_id());
    assert!(matches!(block_on(Node::builder().listen(LOOPBACK).start()), Err(StartError::NoRuntime)));
    block_on(node.shutdown(TIMEOUT));
}

#[test]
fn a_runtime_without_drivers_is_told() {
    for runtime in [Builder::new_current_thread().build(), Builder::new_current_thread().enable_time().build()] {
        let started = runtime.unwrap().block_on(Node::builder().listen(LOOPBACK).start());
        assert!(matches!(started, Err(StartError::NoDrivers)), "{started:?}");
    }
}
