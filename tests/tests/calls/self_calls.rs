//! A node that calls itself gets what it would get from another.

use std::time::{Duration, Instant};

use futures::future::join_all;
use p2prpc::prelude::*;
use p2prpc_tests::{Bench, LONG, MathError, Peer, WorkbenchClient, WorkbenchPeer, WorkbenchServer, soon};

async fn node() -> (Peer, Bench, WorkbenchPeer) {
    let bench = Bench::new();
    let node = Peer::serving(bench.service()).await;
    let itself = WorkbenchClient::new(&node).timeout(LONG).peer(node.id());
    (node, bench, itself)
}

fn is<E: Failure>(error: &E, kind: ErrorKind, delivery: Delivery) {
    assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_go_and_come_back_through_every_codec() {
    let (node, _, _) = node().await;
    for codec in CodecId::supported() {
        let itself = WorkbenchClient::new(&node).codec(*codec).peer(node.id());
        assert_eq!(itself.echo("hello".into()).await.unwrap(), "hello");
        assert_eq!(itself.add(1, 2, 3).await.unwrap(), 6);
        let error = itself.divide(1, 0).await.unwrap_err();
        assert_eq!(error.application(), Some(&MathError::DivisionByZero { dividend: 1 }));
    }
    let itself = WorkbenchClient::new(&node).peer(node.id());
    is(
        &itself.add(1, 2, 3).codec(CodecId::new(99)).await.unwrap_err(),
        ErrorKind::UnsupportedCodec,
        Delivery::NeverSent,
    );
    assert_eq!(itself.metadata("k".into()).metadata("k", "v").await.unwrap().as_deref(), Some("v"));
    assert_eq!(itself.echo("x".repeat(4_000_000)).await.unwrap().len(), 4_000_000);
    assert_eq!(itself.who().await.unwrap(), node.id().to_string());
    assert_eq!(node.connected_ever(), 0, "it needs no connection");
}

#[p2p_service]
trait Mirror {
    async fn is_local(&self, cx: &Context) -> bool;
    async fn fall(&self);
}

struct Glass;

impl Mirror for Glass {
    async fn is_local(&self, cx: &Context) -> bool {
        cx.is_local()
    }

    async fn fall(&self) {
        panic!("it breaks")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handler_knows_that_it_is_its_own_node() {
    let node = Peer::serving(MirrorServer::new(Glass)).await;
    let other = Peer::start().await;
    other.knows(&node).await;
    assert!(MirrorClient::new(&node).peer(node.id()).is_local().await.unwrap());
    assert!(!MirrorClient::new(&other).peer(node.id()).is_local().await.unwrap());
    is(&MirrorClient::new(&node).peer(node.id()).fall().await.unwrap_err(), ErrorKind::Panicked, Delivery::Answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_hold_for_the_node_itself_too() {
    let node = Peer::serving(WorkbenchServer::new(Bench::new()).authorize(|call| call.method() == "Add")).await;
    let itself = WorkbenchClient::new(&node).peer(node.id());
    assert_eq!(itself.add(1, 2, 3).await.unwrap(), 6);
    is(&itself.echo("x".into()).await.unwrap_err(), ErrorKind::NotServed, Delivery::NeverSent);
    is(&MirrorClient::new(&node).peer(node.id()).fall().await.unwrap_err(), ErrorKind::NotServed, Delivery::NeverSent);
    node.with(|swarm| swarm.behaviour_mut().authorize(|_| false)).await;
    is(&itself.add(1, 2, 3).await.unwrap_err(), ErrorKind::NotServed, Delivery::NeverSent);
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_and_dropping_hold_too() {
    let (_node, bench, itself) = node().await;
    let (called, timeout) = (Instant::now(), Duration::from_millis(200));
    let error = soon("it ends", itself.hold("late".into()).timeout(timeout)).await.unwrap_err();
    is(&error, ErrorKind::DeadlineExceeded, Delivery::MayHaveRun);
    assert!(called.elapsed() >= timeout);
    bench.has_dropped(1).await;
    is(
        &itself.hold(String::new()).timeout(Duration::ZERO).await.unwrap_err(),
        ErrorKind::DeadlineExceeded,
        Delivery::NeverSent,
    );

    let call = tokio::spawn(itself.hold("dropped".into()));
    bench.has_waiting(1).await;
    call.abort();
    bench.has_dropped(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_too() {
    let (_node, bench, itself) = node().await;
    is(&itself.echo("x".repeat(5_000_000)).await.unwrap_err(), ErrorKind::TooLarge, Delivery::NeverSent);
    is(&itself.text(5_000_000).await.unwrap_err(), ErrorKind::TooLarge, Delivery::Answered);
    let held: Vec<_> = (0..1024).map(|_| tokio::spawn(itself.hold("held".into()))).collect();
    bench.has_waiting(1024).await;
    is(&itself.add(1, 2, 3).await.unwrap_err(), ErrorKind::Overloaded, Delivery::NeverSent);
    bench.release();
    assert!(soon("all", join_all(held)).await.into_iter().all(|answer| answer.unwrap().is_ok()));
    assert_eq!(itself.add(1, 2, 3).await.unwrap(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_loops_as_the_limit_allows_are_never_refused() {
    let (_node, _, itself) = node().await;
    let loops = (0..1024).map(|_| {
        let itself = itself.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                itself.add(1, 2, 3).await?;
            }
            Ok::<_, RpcError>(())
        })
    });
    for result in soon("all", join_all(loops)).await {
        result.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_call_itself_from_its_handlers_again_and_again() {
    let (node, _, itself) = node().await;
    let path = vec![node.id().to_string(); 1000];
    assert_eq!(soon("it comes back", itself.relay(path, "deep".into())).await.unwrap(), "deep");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_going_or_gone_does_not_call_itself() {
    let (node, bench, itself) = node().await;
    let under_way = tokio::spawn(itself.hold("answered".into()));
    bench.has_waiting(1).await;
    node.with(|swarm| swarm.behaviour_mut().go_away()).await;
    is(&itself.add(1, 2, 3).await.unwrap_err(), ErrorKind::Closed, Delivery::NeverSent);
    assert_eq!(node.with(|swarm| swarm.behaviour().calls_in_flight()).await, 1);
    bench.release();
    assert_eq!(soon("what was under way is answered", under_way).await.unwrap().unwrap(), "answered");
    node.kill().await;
    is(&itself.add(1, 2, 3).await.unwrap_err(), ErrorKind::Closed, Delivery::NeverSent);
}
