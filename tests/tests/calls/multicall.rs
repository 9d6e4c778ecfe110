//! One call to many peers: a result for each, always.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{Stream, StreamExt};
use p2prpc::prelude::*;
use p2prpc_tests::{Bench, LONG, Peer, WorkbenchClient, WorkbenchServer, connect, soon};
use serde::{Deserialize, Serialize};

/// A caller that knows so many servers, each with a bench of its own. Nobody is connected.
pub(crate) async fn swarm(n: usize) -> (Peer, Vec<Peer>, Vec<Bench>) {
    let benches: Vec<_> = (0..n).map(|_| Bench::new()).collect();
    let servers = join_all(benches.iter().map(|bench| Peer::serving(bench.service()))).await;
    let caller = Peer::start().await;
    for server in &servers {
        caller.knows(server).await;
    }
    (caller, servers, benches)
}

pub(crate) fn ids(servers: &[Peer]) -> Vec<PeerId> {
    servers.iter().map(Peer::id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_peer_gives_a_result_in_the_order_asked() {
    let (caller, servers, _) = swarm(8).await;
    let client = WorkbenchClient::new(&caller);
    let (stranger, mut asked) = (PeerId::random(), ids(&servers));
    asked.insert(3, stranger);
    asked.push(asked[0]);
    let replies = soon("replies", client.peers(asked.clone()).echo("hello".into())).await;
    assert_eq!(replies.len(), 10);
    assert_eq!(replies.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), asked);
    assert_eq!(replies.ok().count(), 9);
    assert!(replies.ok().all(|(_, text)| text == "hello"));
    let failed: Vec<_> = replies.errors().map(|(peer, error)| (peer, error.kind(), error.delivery())).collect();
    assert_eq!(failed, [(stranger, ErrorKind::Unreachable, Delivery::NeverSent)]);
    for (at, (peer, result)) in replies.into_iter().enumerate() {
        assert_eq!((peer, result.is_ok()), (asked[at], at != 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_handlers_are_results_too() {
    let (caller, servers, _) = swarm(3).await;
    let replies = soon("replies", WorkbenchClient::new(&caller).peers(ids(&servers)).divide(1, 0)).await;
    assert_eq!(replies.errors().filter(|(_, error)| error.application().is_some()).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_asked_is_no_result_at_once() {
    let caller = Peer::start().await;
    let client = WorkbenchClient::new(&caller);
    assert!(soon("replies", client.peers([]).echo("hello".into())).await.is_empty());
    assert!(soon("replies", client.echo_all("hello".into())).await.is_empty());
    assert_eq!(client.echo_all("hello".into()).replies().count().await, 0);
    assert!(client.peers([]).echo("hello".into()).quorum(0).await.unwrap().is_empty());
    assert!(client.peers([]).echo("hello".into()).quorum(1).await.unwrap_err().is_empty());
    assert!(client.peers([]).echo("hello".into()).first_ok().await.unwrap_err().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_the_connected_peers_that_speak_the_protocol_without_the_node_itself() {
    let (caller, servers, _) = swarm(3).await;
    caller.serve(Bench::new().service()).await.unwrap();
    let other = Peer::builder().protocol("/other").serve(Bench::new().service()).start().await;
    connect(&caller, &other).await;
    let client = WorkbenchClient::new(&caller);
    assert!(client.members().is_empty());
    // Whoever calls us shows that it speaks the protocol. (So would identify, in a Swarm that has it.)
    for server in &servers {
        server.knows(&caller).await;
        soon("it calls", WorkbenchClient::new(server).peer(caller.id()).add(1, 2, 3)).await.unwrap();
    }
    let mut expected = ids(&servers);
    expected.sort();
    assert_eq!(soon("they are members", client.wait_for(3)).await.unwrap(), expected);
    assert_eq!(client.members(), expected);
    let replies = soon("replies", client.echo_all("hello".into())).await;
    assert_eq!(replies.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), expected);
    assert_eq!(replies.ok().count(), 3);
    assert_eq!(soon("replies", client.all().echo("hello".into())).await.ok().count(), 3);

    caller.cut_all(&servers[0]).await;
    let replies = soon("replies", client.echo_all("hello".into())).await;
    assert_eq!(replies.len(), 2, "who has gone isn't asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_was_called_is_a_member_too() {
    let (caller, servers, _) = swarm(1).await;
    let client = WorkbenchClient::new(&caller);
    client.peer(servers[0].id()).add(1, 2, 3).await.unwrap();
    assert_eq!(soon("it is a member", client.wait_for(1)).await.unwrap(), ids(&servers));
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_come_as_they_are_given() {
    let (caller, servers, benches) = swarm(4).await;
    let client = WorkbenchClient::new(&caller).timeout(LONG);
    let mut replies = client.peers(ids(&servers)).hold("held".into()).replies();
    assert_eq!(replies.size_hint(), (4, Some(4)));
    // The last that was asked answers first.
    for at in [3, 1, 0, 2] {
        benches[at].release();
        let (peer, reply) = soon("the next", replies.next()).await.unwrap();
        assert_eq!((peer, reply.unwrap().as_str()), (servers[at].id(), "held"));
    }
    assert!(soon("the end", replies.next()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_replies_cancels_the_rest() {
    let (caller, servers, benches) = swarm(4).await;
    let client = WorkbenchClient::new(&caller).timeout(LONG);
    let mut replies = client.peers(ids(&servers)).hold("held".into()).replies();
    benches[0].release();
    assert!(soon("the first", replies.next()).await.unwrap().1.is_ok());
    for bench in &benches[1..] {
        bench.has_waiting(1).await;
    }
    drop(replies);
    for bench in &benches[1..] {
        bench.has_dropped(1).await;
    }

    let all = tokio::spawn(client.peers(ids(&servers[1..])).hold("held".into()).into_future());
    for bench in &benches[1..] {
        bench.has_waiting(1).await;
    }
    all.abort();
    for bench in &benches[1..] {
        bench.has_dropped(2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_cancels_the_rest() {
    let (caller, servers, benches) = swarm(5).await;
    let client = WorkbenchClient::new(&caller).timeout(LONG);
    benches[1].release();
    benches[4].release();
    let good = soon("a quorum", client.peers(ids(&servers)).hold("held".into()).quorum(2)).await.unwrap();
    let mut peers: Vec<_> = good.into_iter().map(|(peer, text)| (peer, text == "held")).collect();
    peers.sort();
    let mut expected = [(servers[1].id(), true), (servers[4].id(), true)];
    expected.sort();
    assert_eq!(peers, expected);
    for at in [0, 2, 3] {
        benches[at].has_seen("it is dropped, or never came", |seen| seen.waiting == 0).await;
    }

    let (peer, text) = soon("the first", client.peers(ids(&servers)).hold("held".into()).first_ok()).await.unwrap();
    assert!([servers[1].id(), servers[4].id()].contains(&peer) && text == "held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_that_keeps_going_reaches_the_others_too() {
    let (caller, servers, benches) = swarm(3).await;
    let client = WorkbenchClient::new(&caller).timeout(LONG);
    let call = tokio::spawn(client.peers(ids(&servers)).hold("held".into()).keep_going().quorum(2));
    for bench in &benches {
        bench.has_waiting(1).await;
    }
    benches[0].release();
    benches[1].release();
    assert_eq!(soon("a quorum", call).await.unwrap().unwrap().len(), 2);
    let seen = benches[2].seen();
    assert_eq!((seen.waiting, seen.dropped), (1, 0));
    benches[2].release();
    let seen = benches[2].has_seen("it has ended", |seen| seen.waiting == 0).await;
    assert_eq!(seen.dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_that_cannot_be_had_any_more_fails_at_once_with_a_result_for_each() {
    let (caller, servers, benches) = swarm(3).await;
    let mut asked = ids(&servers);
    asked.insert(1, PeerId::random());
    asked.push(PeerId::random());
    let client = WorkbenchClient::new(&caller).timeout(LONG);
    benches[0].release();
    // One is good, one is bad, and three of the rest would be needed.
    let all = soon("all", client.peers(asked.clone()).hold("held".into()).concurrency(4).quorum(4)).await.unwrap_err();
    assert_eq!(all.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), asked);
    let kinds: Vec<_> = all.errors().map(|(_, error)| (error.kind(), error.delivery())).collect();
    assert!(kinds.contains(&(ErrorKind::Unreachable, Delivery::NeverSent)), "{kinds:?}");
    assert!(kinds.contains(&(ErrorKind::Cancelled, Delivery::MayHaveRun)), "{kinds:?}");
    for bench in &benches {
        bench.has_seen("it is dropped, or never came", |seen| seen.waiting == 0).await;
    }

    let none = soon("all", client.peers([asked[1]]).hold("held".into()).first_ok()).await.unwrap_err();
    assert_eq!(none.errors().next().unwrap().1.kind(), ErrorKind::Unreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_peers_are_asked_at_once_than_allowed() {
    // All serve the same bench, which counts those that wait.
    let bench = Bench::new();
    let servers = join_all((0..12).map(|_| Peer::serving(bench.service()))).await;
    let caller = Peer::start().await;
    for server in &servers {
        caller.knows(server).await;
    }
    let client = WorkbenchClient::new(&caller).timeout(LONG);
    let replies = soon("replies", client.peers(ids(&servers)).rest(30).concurrency(3)).await;
    assert_eq!(replies.ok().count(), 12);
    assert!(bench.seen().most_waiting <= 3, "{} at once", bench.seen().most_waiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_deadline_holds_for_all_and_whose_turn_did_not_come_was_never_asked() {
    let bench = Bench::new();
    let servers = join_all((0..6).map(|_| Peer::serving(bench.service()))).await;
    let caller = Peer::start().await;
    for server in &servers {
        caller.knows(server).await;
    }
    let timeout = Duration::from_millis(500);
    let called = Instant::now();
    let calls = WorkbenchClient::new(&caller).peers(ids(&servers)).hold("held".into());
    let replies = soon("they end", calls.concurrency(2).timeout(timeout)).await;
    let took = called.elapsed();
    assert!(took >= timeout, "{took:?}");
    assert_eq!(replies.len(), 6);
    assert!(replies.errors().all(|(_, error)| error.kind() == ErrorKind::DeadlineExceeded));
    let never_sent = replies.errors().filter(|(_, error)| error.delivery() == Delivery::NeverSent).count();
    assert!(never_sent >= 4, "{never_sent}");
    assert!(bench.seen().most_waiting <= 2);
    assert!(caller.connected_ever() <= 2, "nobody is dialled after the deadline");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_vanishes_in_mid_call_gives_its_error() {
    let (caller, mut servers, benches) = swarm(4).await;
    let asked = ids(&servers);
    let call = tokio::spawn(
        WorkbenchClient::new(&caller).timeout(LONG).peers(asked.clone()).hold("held".into()).into_future(),
    );
    for bench in &benches {
        bench.has_waiting(1).await;
    }
    servers.remove(2).kill().await;
    benches.iter().for_each(Bench::release);
    let replies = soon("replies", call).await.unwrap();
    assert_eq!(replies.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), asked);
    assert_eq!(replies.ok().count(), 3);
    let (peer, error) = replies.errors().next().unwrap();
    assert_eq!((peer, error.kind(), error.delivery()), (asked[2], ErrorKind::ConnectionLost, Delivery::MayHaveRun));
}

/// Counts how often it is serialised.
#[derive(Deserialize)]
struct Counted(u64);

static SERIALIZED: AtomicUsize = AtomicUsize::new(0);

impl Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        SERIALIZED.fetch_add(1, Ordering::Relaxed);
        serializer.serialize_newtype_struct("Counted", &self.0)
    }
}

#[p2p_service]
trait Counting {
    async fn take(&self, counted: Counted) -> u64;
    async fn label(&self, cx: &Context) -> Option<String>;
}

struct Counter;

impl Counting for Counter {
    async fn take(&self, counted: Counted) -> u64 {
        counted.0
    }

    async fn label(&self, cx: &Context) -> Option<String> {
        cx.metadata().get("label").map(str::to_owned)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_are_encoded_once_for_all_peers() {
    let servers = join_all((0..8).map(|_| Peer::serving(CountingServer::new(Counter)))).await;
    let caller = Peer::start().await;
    for server in &servers {
        caller.knows(server).await;
    }
    let client = CountingClient::new(&caller);
    let replies = soon("replies", client.peers(ids(&servers)).take(Counted(7))).await;
    assert_eq!(replies.ok().filter(|(_, n)| **n == 7).count(), 8);
    assert_eq!(SERIALIZED.load(Ordering::Relaxed), 1);

    let labels =
        soon("replies", client.peers(ids(&servers)).label().metadata("label", "blue").codec(CodecId::JSON)).await;
    assert_eq!(labels.ok().filter(|(_, label)| label.as_deref() == Some("blue")).count(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_made_is_told_for_each_peer() {
    let (caller, servers, _) = swarm(3).await;
    let client = WorkbenchClient::new(&caller);
    let replies = soon("replies", client.peers(ids(&servers)).echo("x".repeat(5 << 20))).await;
    assert_eq!(replies.errors().filter(|(_, error)| error.kind() == ErrorKind::TooLarge).count(), 3);
    let replies = soon("replies", client.peers(ids(&servers)).echo("x".into()).metadata("Bad Key", "x")).await;
    assert_eq!(replies.errors().filter(|(_, error)| error.kind() == ErrorKind::InvalidRequest).count(), 3);
    let asked = ids(&servers);
    caller.kill().await;
    let replies = soon("replies", client.peers(asked).echo("x".into())).await;
    assert_eq!(replies.errors().filter(|(_, error)| error.kind() == ErrorKind::Closed).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_denies_does_not_keep_others_from_answering() {
    let (caller, mut servers, _) = swarm(2).await;
    servers.push(Peer::serving(WorkbenchServer::new(Bench::new()).authorize(|_| false)).await);
    caller.knows(&servers[2]).await;
    let replies = soon("replies", WorkbenchClient::new(&caller).peers(ids(&servers)).echo("x".into())).await;
    assert_eq!(replies.ok().count(), 2);
    assert_eq!(replies.errors().next().unwrap().1.kind(), ErrorKind::NotServed);
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_peers_never_dialled_before_all_answer() {
    let (caller, servers, _) = swarm(32).await;
    let client = WorkbenchClient::new(&caller).timeout(LONG);
    let replies = soon("replies", client.peers(ids(&servers)).who()).await;
    assert_eq!(replies.ok().filter(|(_, id)| **id == caller.id().to_string()).count(), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_happens_and_no_time_runs_before_the_first_poll() {
    let (caller, servers, _) = swarm(2).await;
    let client = WorkbenchClient::new(&caller);
    let call = client.peers(ids(&servers)).count("never".into());
    drop(call);
    let replies = client.peers(ids(&servers)).count("late".into()).timeout(Duration::from_millis(2_000)).replies();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(caller.connected_ever(), 0);
    let replies: Vec<_> = soon("replies", replies.collect()).await;
    assert_eq!(replies.iter().filter(|(_, reply)| *reply.as_ref().unwrap() == 1).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn some_of_many_are_asked_and_others_the_next_time() {
    let (caller, servers, _) = swarm(6).await;
    let client = WorkbenchClient::new(&caller);
    let mut asked = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let replies = soon("replies", client.peers(ids(&servers)).echo("x".into()).sample(2)).await;
        assert_eq!(replies.ok().count(), 2);
        asked.extend(replies.iter().map(|(peer, _)| *peer));
    }
    assert_eq!(asked.len(), 6, "each has its turn");
    let all = soon("replies", client.peers(ids(&servers)).echo("x".into()).sample(100)).await;
    assert_eq!(all.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_enough_is_the_callers_to_say() {
    let (caller, servers, _) = swarm(5).await;
    let client = WorkbenchClient::new(&caller);
    let (weights, heavy) = (ids(&servers), servers[4].id());
    // One peer has as much weight as all others.
    let weight = move |answers: &[(PeerId, String)]| {
        answers.iter().map(|(peer, _)| if *peer == heavy { 4 } else { 1 }).sum::<u32>() >= 5
    };
    let call = client.peers(weights.clone()).echo("x".into()).quorum_by(weight);
    let answers = soon("enough", call).await.unwrap();
    assert!(answers.len() >= 2 && answers.iter().any(|(peer, _)| *peer == heavy), "{answers:?}");
    let never = client.peers(weights.clone()).echo("x".into()).quorum_by(|_| panic!("in the caller's own code"));
    let all = soon("not enough", never).await.unwrap_err();
    assert_eq!(all.ok().count(), 5, "all results are there");
    let asked = [PeerId::random(), weights[0]];
    let all =
        soon("not enough", client.peers(asked).echo("x".into()).quorum_by(|good| good.len() == 2)).await.unwrap_err();
    assert_eq!((all.ok().count(), all.errors().count()), (1, 1));
}
