//! The grace of a node that ends: what was admitted by then is answered within it, or ended; nothing runs afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use p2prpc::bytes::Bytes;
use p2prpc::prelude::*;
use p2prpc_tests::Peer;

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const GRACE: Duration = Duration::from_secs(10);

#[p2p_service(gorpc = "Work")]
trait Work {
    async fn sleep(&self, ms: u64) -> u64;
    async fn large(&self, ms: u64, bytes: usize) -> Bytes;
    /// Without a point at which it waits.
    async fn compute(&self, ms: u64) -> u64;
}

#[derive(Default)]
struct Worker {
    running: Arc<AtomicUsize>,
}

struct Running(Arc<AtomicUsize>);

impl Running {
    fn count(running: &Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::SeqCst);
        Running(running.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Work for Worker {
    async fn sleep(&self, ms: u64) -> u64 {
        let _running = Running::count(&self.running);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        ms
    }

    async fn large(&self, ms: u64, bytes: usize) -> Bytes {
        let _running = Running::count(&self.running);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        vec![1; bytes].into()
    }

    async fn compute(&self, ms: u64) -> u64 {
        let _running = Running::count(&self.running);
        std::thread::sleep(Duration::from_millis(ms));
        ms
    }
}

async fn runs(running: &AtomicUsize, n: usize) {
    let begun = async {
        while running.load(Ordering::SeqCst) != n {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(GRACE, begun).await.expect("so many handlers run");
}

async fn pair(address: &str) -> (Node, Node, WorkPeer, Arc<AtomicUsize>) {
    let running = Arc::<AtomicUsize>::default();
    let worker = WorkServer::new(Worker { running: running.clone() });
    let server = Node::builder().listen(address).rendezvous("grace").serve(worker).start().await.unwrap();
    let caller = Node::builder().listen(address).rendezvous("grace").bootstrap(server.addresses());
    let caller = caller.start().await.unwrap();
    let client = WorkClient::new(&caller).timeout(Duration::from_secs(60));
    client.wait_for(1).await.unwrap();
    let there = client.peer(server.peer_id());
    there.sleep(0).await.unwrap();
    (server, caller, there, running)
}

async fn what_is_under_way_is_answered(address: &str, by_the_server: bool) {
    let (server, caller, there, running) = pair(address).await;
    let sleeping = tokio::spawn(there.sleep(800));
    let large = tokio::spawn(there.large(800, 3_000_000));
    runs(&running, 2).await;
    let began = Instant::now();
    if by_the_server {
        server.shutdown(GRACE).await
    } else {
        caller.shutdown(GRACE).await
    }
    assert!((Duration::from_millis(500)..Duration::from_secs(6)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(sleeping.await.unwrap().unwrap(), 800);
    assert_eq!(large.await.unwrap().unwrap().len(), 3_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_under_way_is_answered_over_tcp() {
    what_is_under_way_is_answered(TCP, true).await;
    what_is_under_way_is_answered(TCP, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_under_way_is_answered_over_quic() {
    what_is_under_way_is_answered(QUIC, true).await;
    what_is_under_way_is_answered(QUIC, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_computes_is_waited_for() {
    for address in [TCP, QUIC] {
        let (server, _caller, there, running) = pair(address).await;
        let computing = tokio::spawn(there.compute(800));
        runs(&running, 1).await;
        server.shutdown(GRACE).await;
        assert_eq!(computing.await.unwrap().unwrap(), 800);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_lasts_longer_ends_with_the_node() {
    for address in [TCP, QUIC] {
        let (server, _caller, there, running) = pair(address).await;
        let sleeping = tokio::spawn(there.sleep(60_000));
        runs(&running, 1).await;
        server.shutdown(Duration::from_millis(200)).await;
        runs(&running, 0).await;
        assert_eq!(sleeping.await.unwrap().unwrap_err().delivery(), Delivery::MayHaveRun);
    }
}

/// As Go peers call.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_under_way_in_gorpc_is_answered_within_grace_and_ends_with_the_node() {
    for (takes, grace) in [(800, GRACE), (60_000, Duration::from_millis(200))] {
        let running = Arc::<AtomicUsize>::default();
        let worker = WorkServer::new(Worker { running: running.clone() });
        let server = Node::builder().listen(TCP).protocol("/tests").gorpc(true).serve(worker).start().await.unwrap();
        let caller = Peer::builder().only_gorpc().start().await;
        let (id, address) = (server.peer_id(), server.addresses()[0].clone());
        caller.with(move |swarm| swarm.add_peer_address(id, address)).await;
        let there = WorkClient::new(&caller).timeout(Duration::from_secs(60)).peer(id);
        let sleeping = tokio::spawn(there.sleep(takes));
        runs(&running, 1).await;
        let began = Instant::now();
        server.shutdown(grace).await;
        assert!(began.elapsed() < grace + Duration::from_secs(5), "{:?}", began.elapsed());
        runs(&running, 0).await;
        let answer = sleeping.await.unwrap();
        if takes == 800 {
            assert_eq!(answer.unwrap(), takes);
        } else {
            assert_eq!(answer.unwrap_err().delivery(), Delivery::MayHaveRun);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_of_the_node_to_itself_ends_with_the_node() {
    for politely in [true, false] {
        let running = Arc::<AtomicUsize>::default();
        let worker = WorkServer::new(Worker { running: running.clone() });
        let node = Node::builder().listen(TCP).serve(worker).start().await.unwrap();
        let own = WorkClient::new(&node).timeout(Duration::from_secs(60)).peer(node.peer_id());
        let short = tokio::spawn(own.sleep(300));
        let long = tokio::spawn(own.sleep(60_000));
        runs(&running, 2).await;
        if politely {
            node.shutdown(Duration::from_secs(1)).await
        } else {
            drop(node)
        }
        runs(&running, 0).await;
        let ended = tokio::time::timeout(Duration::from_secs(2), long).await.expect("it ends with the node");
        assert_eq!(ended.unwrap().unwrap_err().delivery(), Delivery::MayHaveRun);
        assert_eq!(short.await.unwrap().is_ok(), politely);
        assert_eq!(own.sleep(0).await.unwrap_err().kind(), ErrorKind::Closed);
    }
}
