//! A client without a network keeps the time of Tokio's clock, so that a test can stop it and turn it.

#![allow(missing_docs)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use p2prpc::prelude::*;
use tokio::time::{Instant, advance, sleep};

#[p2p_service]
trait Sleeper {
    async fn sleep(&self, secs: u64) -> u64;
    async fn remaining(&self, cx: &Context) -> Duration;
    #[rpc(timeout = "1m 30s")]
    async fn hibernate(&self, secs: u64) -> u64;
    /// One item after so long, for ever.
    async fn snore(&self, secs: u64) -> impl Stream<Item = u64>;
}

struct Bed;

impl Sleeper for Bed {
    async fn sleep(&self, secs: u64) -> u64 {
        sleep(Duration::from_secs(secs)).await;
        secs
    }

    async fn hibernate(&self, secs: u64) -> u64 {
        self.sleep(secs).await
    }

    async fn snore(&self, secs: u64) -> impl Stream<Item = u64> {
        futures::stream::unfold(0, move |n| async move {
            sleep(Duration::from_secs(secs)).await;
            Some((n, n + 1))
        })
    }

    async fn remaining(&self, cx: &Context) -> Duration {
        sleep(Duration::from_secs(4)).await;
        cx.remaining()
    }
}

fn local() -> (SleeperClient, SleeperPeer) {
    let client = SleeperClient::local(Bed);
    let peer = client.peer(client.local_peer_id().unwrap());
    (client, peer)
}

#[tokio::test(start_paused = true)]
async fn calls_and_their_deadlines_are_in_the_time_of_the_test() {
    let (client, peer) = local();
    let began = Instant::now();
    for _ in 0..8 {
        assert_eq!(peer.sleep(5).await.unwrap(), 5);
    }
    assert_eq!(began.elapsed(), Duration::from_secs(40));
    let error = peer.sleep(20).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!((50..51).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());

    advance(Duration::from_secs(3600)).await;
    assert_eq!(peer.sleep(0).await.unwrap(), 0);
    assert_eq!(peer.sleep(1).await.unwrap(), 1);
    assert_eq!(peer.remaining().await.unwrap(), Duration::from_secs(6));

    let own = client.local_peer_id().unwrap();
    let replies = client.peers([own; 3]).sleep(6).concurrency(1).await;
    let kinds: Vec<_> = replies.iter().map(|(_, reply)| reply.as_ref().map_err(Failure::kind).copied()).collect();
    assert_eq!(kinds, [Ok(6), Err(ErrorKind::DeadlineExceeded), Err(ErrorKind::DeadlineExceeded)]);
}

#[tokio::test(start_paused = true)]
async fn a_method_may_have_a_timeout_of_its_own_which_clients_and_calls_go_before() {
    let (client, peer) = local();
    assert_eq!(peer.hibernate(60).await.unwrap(), 60, "the node's default is 10 s");
    let replies = client.peers([client.local_peer_id().unwrap()]).hibernate(80).await;
    assert_eq!(replies.ok().count(), 1, "of calls to many too");
    let ends_after = async |call: Call<sleeper::Hibernate>| {
        let began = Instant::now();
        assert_eq!(call.await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        began.elapsed().as_secs()
    };
    assert_eq!(ends_after(peer.hibernate(100)).await, 90);
    assert_eq!(ends_after(peer.hibernate(100).timeout(Duration::from_secs(20))).await, 20);
    let quick = client.clone().timeout(Duration::from_secs(30)).peer(client.local_peer_id().unwrap());
    assert_eq!(ends_after(quick.hibernate(100)).await, 30);
}

#[p2p_service]
trait Replica {
    #[rpc(idempotent)]
    async fn read(&self) -> Result<u64, String>;
}

/// The first that is asked never answers, the second fails at once, and the third answers.
#[derive(Default)]
struct Replicas(AtomicU64);

impl Replica for Replicas {
    async fn read(&self) -> Result<u64, String> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => std::future::pending().await,
            1 => Err("not here".into()),
            n => Ok(n),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_is_a_reason_to_ask_the_next_at_once_while_another_is_silent() {
    let client = ReplicaClient::local(Replicas::default());
    let (began, pause) = (Instant::now(), Duration::from_secs(2));
    let (_, value) = client.any_of([client.local_peer_id().unwrap(); 3]).read().hedge_after(pause).await.unwrap();
    assert_eq!(value, 2);
    assert!((2000..2100).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[test]
fn outside_of_a_runtime_a_call_says_so_or_ends() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_client, peer) = local();
    let error = futures::executor::block_on(peer.sleep(0)).unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidRequest, Delivery::NeverSent));
    let (_client, peer) = runtime.block_on(async { local() });
    assert_eq!(futures::executor::block_on(peer.sleep(0)).unwrap(), 0);
    let error = futures::executor::block_on(peer.sleep(60).timeout(Duration::from_millis(50))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
}

#[p2p_service]
trait Jobs {
    /// Leaves a job behind that calls back after a minute.
    async fn leave(&self, cx: &Context, detached: bool);
    async fn done(&self);
}

struct Desk(tokio::sync::mpsc::UnboundedSender<Result<(), RpcError>>);

impl Jobs for Desk {
    async fn leave(&self, cx: &Context, detached: bool) {
        let (handle, peer) = (if detached { cx.detached() } else { cx.handle() }, cx.peer());
        let outcome = self.0.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(60)).await;
            let _ = outcome.send(JobsClient::new(handle).peer(peer).done().await);
        });
    }

    async fn done(&self) {}
}

#[tokio::test(start_paused = true)]
async fn a_job_that_a_handler_leaves_behind_has_the_deadline_of_the_call_or_is_detached_from_it() {
    let (outcome, mut outcomes) = tokio::sync::mpsc::unbounded_channel();
    let client = JobsClient::local(Desk(outcome));
    let peer = client.peer(client.local_peer_id().unwrap());
    peer.leave(false).timeout(Duration::from_secs(2)).await.unwrap();
    let error = outcomes.recv().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::NeverSent));
    peer.leave(true).timeout(Duration::from_secs(2)).await.unwrap();
    outcomes.recv().await.unwrap().expect("it has a deadline of its own");
}

#[tokio::test(start_paused = true)]
async fn streams_and_their_times_are_in_the_time_of_the_test() {
    let (_, peer) = local();
    let began = Instant::now();
    // Longer than any call may take: a stream has no time of its own.
    let mut snore = peer.snore(2 * 3600);
    for n in 0..3 {
        assert_eq!(snore.next().await.unwrap().unwrap(), n);
    }
    assert_eq!(began.elapsed().as_secs(), 6 * 3600);
    let mut snore = peer.snore(100).idle_timeout(Duration::from_secs(99));
    let began = Instant::now();
    assert_eq!(snore.next().await.unwrap().unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(began.elapsed().as_secs(), 99);
    let mut snore = peer.snore(10).idle_timeout(Duration::from_secs(11)).timeout(Duration::from_secs(35));
    let began = Instant::now();
    for n in 0..3 {
        assert_eq!(snore.next().await.unwrap().unwrap(), n);
    }
    let error = snore.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), began.elapsed().as_secs()), (ErrorKind::DeadlineExceeded, 35));
    assert!(error.to_string().contains("after 3 items"), "{error}");
}
