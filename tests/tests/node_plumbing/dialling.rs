//! Where a peer is dialled, when, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use p2prpc::prelude::*;
use p2prpc::{ConnectError, NodeBuilder, Reachability, StartError};
use tokio::net::{TcpListener, TcpStream};

use super::support::{WorkshopClient, address, local, serving, soon, started};

/// A dial that is told of the right place gets there long before one that waits for the wrong one.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A port that takes connections and says nothing.
struct Hole(std::net::TcpListener);

impl Hole {
    fn new() -> Self {
        Hole(std::net::TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn address(&self) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{}", self.0.local_addr().unwrap().port()).parse().unwrap()
    }
}

/// A way to a node, on which connections are counted.
async fn counted(node: &Node) -> (Multiaddr, Arc<AtomicUsize>) {
    let target = address(node).to_string().split('/').nth(4).unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        while let Ok((mut inbound, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let target = format!("127.0.0.1:{target}");
            tokio::spawn(async move {
                let mut outbound = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await;
            });
        }
    });
    (at, count)
}

/// A node without a rendezvous: what it dials is what the test has it dial.
fn alone() -> NodeBuilder {
    Node::builder().listen("/ip4/127.0.0.1/tcp/0")
}

#[tokio::test]
async fn a_call_is_made_where_the_peer_is_told_to_be_while_a_dead_place_is_dialled() {
    for dead in [1, 7] {
        let (caller, server) = (started(alone()).await, started(serving()).await);
        let holes: Vec<Hole> = (0..dead).map(|_| Hole::new()).collect();
        for hole in &holes {
            caller.add_address(server.peer_id(), hole.address()).unwrap();
        }
        let client = WorkshopClient::new(&caller);
        let given_up = client.peer(server.peer_id()).echo("early".into()).timeout(Duration::from_millis(500)).await;
        assert_eq!(given_up.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        // One call waits already, another comes right after the word.
        let waiting = tokio::spawn(client.peer(server.peer_id()).echo("waits".into()).into_future());
        tokio::task::yield_now().await;
        let told = Instant::now();
        caller.add_address(server.peer_id(), address(&server)).unwrap();
        client.peer(server.peer_id()).echo("hello".into()).await.unwrap();
        waiting.await.unwrap().unwrap();
        assert!(told.elapsed() < AT_ONCE, "{:?} after the right place was told", told.elapsed());
    }
}

#[tokio::test]
async fn a_call_goes_over_what_connect_has_made_while_a_dead_place_is_dialled() {
    let (caller, server) = (started(alone()).await, started(serving()).await);
    let hole = Hole::new();
    caller.add_address(server.peer_id(), hole.address()).unwrap();
    let client = WorkshopClient::new(&caller);
    let waiting = tokio::spawn(client.peer(server.peer_id()).echo("waits".into()).into_future());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let told = Instant::now();
    caller.connect(address(&server)).await.unwrap();
    waiting.await.unwrap().unwrap();
    assert!(told.elapsed() < AT_ONCE, "{:?}", told.elapsed());
}

#[tokio::test]
async fn what_is_told_after_many_dead_places_is_dialled_all_the_same() {
    let (caller, server) = (started(alone()).await, started(serving()).await);
    let holes: Vec<Hole> = (0..7).map(|_| Hole::new()).collect();
    caller.add_address(server.peer_id(), holes[0].address()).unwrap();
    let client = WorkshopClient::new(&caller);
    let waiting = tokio::spawn(client.peer(server.peer_id()).echo("waits".into()).into_future());
    tokio::time::sleep(Duration::from_millis(300)).await;
    for place in holes.iter().skip(1).map(Hole::address).chain([address(&server)]) {
        caller.add_address(server.peer_id(), place).unwrap();
    }
    let told = Instant::now();
    waiting.await.unwrap().unwrap();
    assert!(told.elapsed() < AT_ONCE, "{:?}", told.elapsed());
}

#[tokio::test]
async fn the_place_that_was_told_last_is_dialled_first() {
    let (caller, server) = (started(alone()).await, started(serving()).await);
    let (counted, _) = counted(&server).await;
    let holes: Vec<Hole> = (0..7).map(|_| Hole::new()).collect();
    for place in holes.iter().map(Hole::address).chain([counted]) {
        caller.add_address(server.peer_id(), place).unwrap();
    }
    WorkshopClient::new(&caller).peer(server.peer_id()).echo("hello".into()).await.unwrap();
    let dialled = holes.iter().filter(|hole| {
        hole.0.set_nonblocking(true).unwrap();
        hole.0.accept().is_ok()
    });
    assert!(dialled.count() < 7, "all eight were dialled");
}

#[tokio::test]
async fn another_peer_at_one_address_does_not_spoil_the_others() {
    let (caller, server, other) = (started(alone()).await, started(serving()).await, started(alone()).await);
    let bare = |node: &Node| address(node).iter().take(2).collect::<Multiaddr>();
    caller.add_address(server.peer_id(), bare(&server)).unwrap();
    caller.add_address(server.peer_id(), bare(&other)).unwrap();
    let echo = WorkshopClient::new(&caller).peer(server.peer_id()).echo("hello".into()).await;
    assert_eq!(echo.unwrap(), "hello");
}

#[tokio::test]
async fn those_who_connect_to_one_peer_at_once_make_one_connection() {
    for with_peer in [true, false] {
        let (one, other) = (started(alone()).await, started(alone()).await);
        let (at, count) = counted(&other).await;
        let at = if with_peer { at.with_p2p(other.peer_id()).unwrap() } else { at };
        let outcomes = soon("they connect", join_all((0..50).map(|_| one.connect(&at)))).await;
        for outcome in outcomes {
            assert_eq!(outcome.unwrap(), other.peer_id());
        }
        for _ in 0..10 {
            assert_eq!(one.connect(&at).await.unwrap(), other.peer_id());
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn all_who_connect_in_vain_are_told_why() {
    let one = started(alone()).await;
    let gone = Hole::new().address();
    for at in [gone.clone(), gone.with_p2p(PeerId::random()).unwrap()] {
        for outcome in soon("they fail", join_all((0..20).map(|_| one.connect(&at)))).await {
            let error = outcome.unwrap_err();
            assert!(
                matches!(&error, ConnectError::Unreachable { reason, .. } if reason.contains("refused")),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn connects_to_many_addresses_of_a_peer_all_have_an_outcome() {
    let (one, other) = (started(alone()).await, started(alone()).await);
    let gone = (0..20).map(|_| Hole::new().address().with_p2p(other.peer_id()).unwrap());
    let connects: Vec<_> = gone.chain([address(&other)]).map(|at| async { one.connect(at).await }).collect();
    let outcomes = soon("all end", join_all(connects)).await;
    assert_eq!(outcomes.last().unwrap().as_ref().unwrap(), &other.peer_id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_that_start_at_once_on_one_port_one_is_told() {
    for _ in 0..25 {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = format!("/ip4/127.0.0.1/tcp/{port}");
        let start = || tokio::spawn(Node::builder().listen(&at).start());
        let (one, other) = tokio::join!(start(), start());
        let outcomes = [one.unwrap(), other.unwrap()];
        let refused: Vec<&StartError> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert_eq!(refused.len(), 1, "{outcomes:?}");
        assert!(refused[0].to_string().contains("in use"), "{}", refused[0]);
    }
}

#[tokio::test]
async fn ipv6_is_free_where_ipv4_is_taken() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    started(Node::builder().listen(format!("/ip6/::/tcp/{port}"))).await;
}

#[tokio::test]
async fn a_bootstrap_peer_that_fails_is_named_at_the_address_that_failed() {
    let peer = PeerId::random();
    let refused = Hole::new().address().with_p2p(peer).unwrap();
    let other = started(alone()).await;
    let wrong = address(&other).iter().take(2).collect::<Multiaddr>().with_p2p(peer).unwrap();
    let node = started(alone().bootstrap([&refused, &wrong])).await;
    let mut failed: Vec<(Multiaddr, String)> = Vec::new();
    let mut events = node.events();
    soon("both are named", async {
        while failed.len() < 2 {
            if let Some(NodeEvent::BootstrapFailed { address, error }) = events.next().await {
                failed.push((address, error));
            }
        }
    })
    .await;
    let reason = |at: &Multiaddr| &failed.iter().find(|(address, _)| address == at).expect("it is named").1;
    assert!(reason(&refused).contains("refused"), "{failed:?}");
    assert!(reason(&wrong).contains("another peer"), "{failed:?}");
}

#[tokio::test]
async fn a_name_is_no_public_address() {
    let public = Reachability::Public(vec!["/dns4/node.example.org/tcp/4001".parse().unwrap()]);
    let error = local().reachability(public).start().await.unwrap_err().to_string();
    assert!(error.contains("/dns4/node.example.org/tcp/4001") && error.contains("IP addresses"), "{error}");
}
