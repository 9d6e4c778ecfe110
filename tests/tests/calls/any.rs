//! One call to whichever of many peers answers well.

use std::time::Duration;

use futures::future::join_all;
use p2prpc::prelude::*;
use p2prpc_tests::{Bench, Peer, WorkbenchClient, connect, soon};

use crate::multicall::{ids, swarm};

#[tokio::test(flavor = "multi_thread")]
async fn one_is_asked_after_the_other_until_one_answers_well() {
    let (caller, servers, benches) = swarm(4).await;
    let (empty, stranger) = (Peer::start().await, PeerId::random());
    caller.knows(&empty).await;
    let mut asked = ids(&servers);
    asked.splice(0..0, [stranger, empty.id()]);
    let client = WorkbenchClient::new(&caller);
    let (peer, count) = soon("an answer", client.any_of(asked.clone()).count("a".into()).into_future()).await.unwrap();
    assert_eq!((peer, count), (servers[0].id(), 1));
    assert!(benches[1..].iter().all(|bench| bench.seen().counted.is_empty()), "one good answer is enough");

    let none = soon("no answer", client.any_of([stranger, empty.id()]).count("b".into()).into_future()).await;
    let none = none.unwrap_err();
    let kinds: Vec<_> = none.errors().map(|(peer, error)| (peer, error.kind())).collect();
    assert_eq!(kinds, [(stranger, ErrorKind::Unreachable), (empty.id(), ErrorKind::NotServed)]);
    assert!(none.to_string().contains("2 of 2 peers failed"), "{none}");
    assert!(soon("nobody", client.any_of([]).echo("x".into()).into_future()).await.unwrap_err().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_valid_is_a_reason_to_ask_the_next() {
    let (caller, servers, benches) = swarm(3).await;
    let client = WorkbenchClient::new(&caller);
    let good = servers[1].id();
    let call = client.any_of(ids(&servers)).count("a".into()).validate(move |peer, count| *count == 1 && *peer == good);
    assert_eq!(soon("an answer", call.into_future()).await.unwrap(), (good, 1));
    assert_eq!(benches[0].seen().counted["a"], 1);
    assert!(benches[2].seen().counted.is_empty());

    let call = client.any_of(ids(&servers)).echo("x".into()).validate(|_, _| panic!("in the caller's own code"));
    let none = soon("no answer", call.into_future()).await.unwrap_err();
    let said: Vec<_> = none.errors().map(|(_, error)| (error.kind(), error.delivery())).collect();
    assert_eq!(said, [(ErrorKind::BadReply, Delivery::Answered); 3]);

    // Of many too: what isn't valid is no vote.
    let quorum = client.peers(ids(&servers)).echo("x".into()).validate(move |peer, _| *peer != good);
    let voted: Vec<_> = soon("a quorum", quorum.quorum(2)).await.unwrap().into_iter().map(|(peer, _)| peer).collect();
    assert_eq!(voted.len(), 2);
    assert!(!voted.contains(&good));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_is_asked_early_where_nobody_answers_for_a_while() {
    let (caller, servers, benches) = swarm(3).await;
    benches[2].release();
    let client = WorkbenchClient::new(&caller);
    assert_eq!(client.peers(ids(&servers)).echo("connected".into()).await.ok().count(), 3);
    let call = client.any_of(ids(&servers)).count_again("a".into()).hedge_after(Duration::from_millis(50));
    let (peer, _) = soon("the third answers", call.into_future()).await.unwrap();
    assert_eq!(peer, servers[2].id());
    for silent in &benches[..2] {
        silent.has_dropped(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_may_not_run_twice_is_not_asked_for_early_unless_that_is_said() {
    let (caller, servers, benches) = swarm(2).await;
    benches[1].release();
    let client = WorkbenchClient::new(&caller);
    assert_eq!(client.peers(ids(&servers)).echo("connected".into()).await.ok().count(), 2);
    let late = Duration::from_millis(1500);
    let call = client.any_of(ids(&servers)).hold("x".into()).timeout(late);
    let none = soon("it ends", call.into_future()).await.unwrap_err();
    let said: Vec<_> = none.errors().map(|(_, error)| (error.kind(), error.delivery())).collect();
    let late = ErrorKind::DeadlineExceeded;
    assert_eq!(said, [(late, Delivery::MayHaveRun), (late, Delivery::NeverSent)]);
    assert_eq!(benches[1].seen().most_waiting, 0);

    let call = client.any_of(ids(&servers)).hold("x".into()).hedge_after(Duration::from_millis(20));
    assert_eq!(soon("the second answers", call.into_future()).await.unwrap().0, servers[1].id());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_have_their_turns() {
    let (caller, servers, benches) = swarm(3).await;
    join_all(servers.iter().map(|server| connect(server, &caller))).await;
    let client = WorkbenchClient::new(&caller);
    for server in &servers {
        // A peer that was called is a member.
        client.peer(server.id()).echo("x".into()).await.unwrap();
    }
    assert_eq!(client.wait_for(3).await.unwrap().len(), 3);
    for _ in 0..6 {
        soon("an answer", client.any().count("turn".into()).into_future()).await.unwrap();
    }
    let counted = |bench: &Bench| bench.seen().counted["turn"];
    assert_eq!(benches.iter().map(counted).collect::<Vec<_>>(), [2, 2, 2]);
}
