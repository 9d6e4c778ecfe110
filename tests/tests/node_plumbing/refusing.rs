//! Peers that have blocked a node or don't admit it: it is told, comes back seldom, and is let in again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use p2prpc::prelude::*;
use p2prpc::{ConnectError, Delivery, Direction, ErrorKind, NodeBuilder};

use super::support::{Worker, WorkshopClient, WorkshopServer, address, first, local, met, soon, started};

/// How often a node that is refused may dial in `LOOKED_AT`: pauses double up to 8 s, and its other dials count too.
const MAX_DIALS: usize = 10;
const LOOKED_AT: Duration = Duration::from_secs(20);
const TOLD: &str = "does not admit us";

fn serving() -> NodeBuilder {
    local().serve(WorkshopServer::new(Worker))
}

/// A node that counts how often its rule is asked for peers that it dials: before, and again once the connection is made.
fn seeking() -> (NodeBuilder, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let rule = move |_: &PeerId, direction| {
        counter.fetch_add(usize::from(direction == Direction::Outbound), Ordering::Relaxed);
        true
    };
    (serving().admit(rule), asked)
}

/// A node that admits others while `open`.
fn gated(open: &Arc<AtomicBool>) -> NodeBuilder {
    let open = open.clone();
    serving().admit(move |_, _| open.load(Ordering::Relaxed))
}

/// It looks for others, and seldom.
async fn dials_seldom(asked: &AtomicUsize) {
    let before = asked.load(Ordering::Relaxed);
    tokio::time::sleep(LOOKED_AT).await;
    let dials = (asked.load(Ordering::Relaxed) - before) / 2;
    assert!((1..=MAX_DIALS).contains(&dials), "{dials} dials in {LOOKED_AT:?}");
}

/// What it is told of the peer by each way there is.
async fn is_refused_by(node: &Node, other: &Node) {
    let error = soon("connect", node.connect(address(other))).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains(TOLD), "{error}");
    let bare: Multiaddr = address(other).iter().take(2).collect();
    let error = soon("connect", node.connect(bare)).await.unwrap_err();
    assert!(error.to_string().contains(TOLD), "{error}");
    node.add_address(other.peer_id(), address(other)).unwrap();
    let error = WorkshopClient::new(node).peer(other.peer_id()).echo("x".into()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost | ErrorKind::Unreachable), "{error}");
    assert!(error.to_string().contains(TOLD) || error.delivery() == Delivery::NeverSent, "{error}");
    assert!(!node.members().contains_key(&other.peer_id()));
}

async fn refusals_are_told(node: &Node) {
    let told = |event: &NodeEvent| matches!(event, NodeEvent::BootstrapFailed { error, .. } if error.contains(TOLD));
    soon("it is told why", first(node.events(), told)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_node_comes_back_seldom_knows_why_and_is_let_in_again() {
    let host = started(serving()).await;
    let (guest, asked) = seeking();
    let guest = started(guest.bootstrap([address(&host)])).await;
    met(&host, &guest).await;
    let mut events = guest.events();
    host.block(guest.peer_id());
    let gone = NodeEvent::PeerLeft { peer: host.peer_id() };
    soon("it is no member", first(&mut events, |event| *event == gone)).await;
    refusals_are_told(&guest).await;
    let comes =
        |event: &NodeEvent| matches!(event, NodeEvent::PeerJoined { .. } | NodeEvent::BootstrapConnected { .. });
    tokio::select! {
        () = dials_seldom(&asked) => {}
        event = first(&mut events, comes) => panic!("{event:?}, though it is refused"),
    }
    is_refused_by(&guest, &host).await;
    host.unblock(guest.peer_id());
    met(&host, &guest).await;
    assert_eq!(WorkshopClient::new(&guest).peer(host.peer_id()).echo("x".into()).await.unwrap(), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bootstrap_peers_of_each_other_part_and_meet_again() {
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (one_id, other_id) = (Identity::from_seed(7101), Identity::from_seed(7102));
    let there = format!("/ip4/127.0.0.1/tcp/{place}/p2p/{}", other_id.peer_id());
    let one = started(serving().identity(one_id).bootstrap([there])).await;
    let other = serving().identity(other_id).bootstrap([address(&one)]);
    let other = started(other.listen(format!("/ip4/127.0.0.1/tcp/{place}"))).await;
    met(&one, &other).await;
    one.block(other.peer_id());
    for node in [&one, &other] {
        soon("it is no member", first(node.watch_members(), |members| members.is_empty())).await;
    }
    refusals_are_told(&other).await;
    one.unblock(other.peer_id());
    met(&one, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_admitted_comes_back_seldom_and_is_let_in_later() {
    let open = Arc::new(AtomicBool::new(false));
    let host = started(gated(&open)).await;
    let (guest, asked) = seeking();
    let guest = started(guest.bootstrap([address(&host)])).await;
    refusals_are_told(&guest).await;
    dials_seldom(&asked).await;
    is_refused_by(&guest, &host).await;
    open.store(true, Ordering::Relaxed);
    met(&host, &guest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_met_elsewhere_and_blocks_is_seldom_sought() {
    let meeting = started(serving()).await;
    let host = started(serving().bootstrap([address(&meeting)])).await;
    let (guest, asked) = seeking();
    let guest = started(guest.bootstrap([address(&meeting)])).await;
    met(&host, &guest).await;
    host.block(guest.peer_id());
    soon("it is no member", first(guest.watch_members(), |members| !members.contains_key(&host.peer_id()))).await;
    dials_seldom(&asked).await;
    assert!(!guest.members().contains_key(&host.peer_id()));
    assert!(guest.members().contains_key(&meeting.peer_id()), "the others are where they were");
    host.unblock(guest.peer_id());
    met(&host, &guest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_has_no_room_is_one_that_refuses() {
    // Four at most, three of them others'.
    let host = started(serving().max_connections(4)).await;
    let mut guests = Vec::new();
    for _ in 0..3 {
        let guest = started(serving().rendezvous("room").bootstrap([address(&host)])).await;
        met(&host, &guest).await;
        guests.push(guest);
    }
    let (late, asked) = seeking();
    let late = started(late.bootstrap([address(&host)])).await;
    let error = soon("connect", late.connect(address(&host))).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. } | ConnectError::Unreachable { .. }), "{error:?}");
    dials_seldom(&asked).await;
    assert!(!late.members().contains_key(&host.peer_id()));
}
