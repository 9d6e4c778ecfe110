//! Every call ends: with an answer, or with an error that says what went wrong and whether the handler can have run.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use p2prpc::Limits;
use p2prpc::prelude::*;
use p2prpc_tests::{Bench, Peer, WorkbenchClient, WorkbenchServer, mesh, soon};

#[p2p_service]
trait Other {
    async fn nothing(&self);
}

#[p2p_service]
trait Faulty {
    async fn panic(&self) -> u8;
    async fn too_much(&self) -> String;
}

struct Broken;

impl Faulty for Broken {
    async fn panic(&self) -> u8 {
        panic!("a secret of the server's");
    }

    async fn too_much(&self) -> String {
        "x".repeat(5 << 20)
    }
}

/// The same service under other argument types, as an older version of a program may have it.
#[p2p_service(name = "Workbench")]
trait OldWorkbench {
    async fn add(&self, a: String) -> i64;
    async fn rest(&self, millis: u64) -> Vec<String>;
}

async fn pair() -> (Peer, Peer, Bench) {
    let bench = Bench::new();
    let server = Peer::builder().serve(bench.service()).serve(FaultyServer::new(Broken)).start().await;
    let caller = Peer::start().await;
    caller.knows(&server).await;
    (caller, server, bench)
}

#[track_caller]
fn assert_is(error: &RpcError, kind: ErrorKind, delivery: Delivery) {
    assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{error}");
    assert!(error.to_string().contains(&delivery.to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_and_what_is_denied_have_one_answer() {
    let bench = Bench::new();
    let denied = Service::from(WorkbenchServer::new(bench.clone()).authorize(|call| call.method() != "Echo"));
    let server = Peer::builder().serve(denied).start().await;
    let caller = Peer::start().await;
    caller.knows(&server).await;
    let unknown_service = soon("nothing", OtherClient::new(&caller).peer(server.id()).nothing()).await.unwrap_err();
    let denied = soon("echo", WorkbenchClient::new(&caller).peer(server.id()).echo("x".into())).await.unwrap_err();
    for error in [&unknown_service, &denied] {
        assert_is(error, ErrorKind::NotServed, Delivery::NeverSent);
        assert_eq!(error.detail(), "");
    }
    assert_eq!(soon("add", WorkbenchClient::new(&caller).peer(server.id()).add(1, 2, 3)).await.unwrap(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_fails_its_own_call_and_says_nothing_of_why() {
    let (caller, server, _) = pair().await;
    let error = soon("panic", FaultyClient::new(&caller).peer(server.id()).panic()).await.unwrap_err();
    assert_is(&error, ErrorKind::Panicked, Delivery::Answered);
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(soon("echo", WorkbenchClient::new(&caller).peer(server.id()).echo("on".into())).await.unwrap(), "on");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_another_version_are_errors() {
    let (caller, server, _) = pair().await;
    let old = OldWorkbenchClient::new(&caller).peer(server.id());
    let arguments = soon("add", old.add("not three numbers".into())).await.unwrap_err();
    assert_is(&arguments, ErrorKind::BadArguments, Delivery::NeverSent);
    let reply = soon("rest", old.rest(1)).await.unwrap_err();
    assert_is(&reply, ErrorKind::BadReply, Delivery::Answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_past_four_mebibytes_are_too_large_in_both_directions() {
    let (caller, server, bench) = pair().await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    let arguments = soon("echo", there.count("x".repeat(5 << 20))).await.unwrap_err();
    assert_is(&arguments, ErrorKind::TooLarge, Delivery::NeverSent);
    assert!(bench.seen().counted.is_empty());
    let reply = soon("too much", FaultyClient::new(&caller).peer(server.id()).too_much()).await.unwrap_err();
    assert_is(&reply, ErrorKind::TooLarge, Delivery::Answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_not_there_is_unreachable() {
    let (caller, server, _) = pair().await;
    let gone = server.id();
    server.kill().await;
    let client = WorkbenchClient::new(&caller);
    for peer in [gone, PeerId::random()] {
        let error = soon("echo", client.peer(peer).echo("x".into())).await.unwrap_err();
        assert_is(&error, ErrorKind::Unreachable, Delivery::NeverSent);
        assert_eq!((error.peer(), error.method()), (Some(peer), Some("Workbench.Echo")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_in_mid_call_says_that_the_handler_may_have_run() {
    let (caller, server, bench) = pair().await;
    let call = tokio::spawn(WorkbenchClient::new(&caller).peer(server.id()).hold("x".into()));
    bench.has_waiting(1).await;
    caller.cut_all(&server).await;
    let error = soon("hold", call).await.unwrap().unwrap_err();
    assert_is(&error, ErrorKind::ConnectionLost, Delivery::MayHaveRun);
    bench.has_dropped(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_call_is_made_again_after_a_lost_connection() {
    let (caller, server, bench) = pair().await;
    let call = tokio::spawn(WorkbenchClient::new(&caller).peer(server.id()).count_again("again".into()));
    bench.has_waiting(1).await;
    caller.cut_all(&server).await;
    bench.has_seen("a second try", |seen| seen.counted.get("again") == Some(&2)).await;
    bench.release();
    assert_eq!(soon("count_again", call).await.unwrap().unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passed_deadline_ends_the_call_and_the_handler() {
    let (caller, server, bench) = pair().await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    let began = Instant::now();
    let error = soon("hold", there.hold("x".into()).timeout(Duration::from_millis(300))).await.unwrap_err();
    assert_is(&error, ErrorKind::DeadlineExceeded, Delivery::MayHaveRun);
    assert!(began.elapsed() >= Duration::from_millis(300));
    bench.has_dropped(1).await;
    let expired = soon("echo", there.echo("x".into()).timeout(Duration::ZERO)).await.unwrap_err();
    assert_is(&expired, ErrorKind::DeadlineExceeded, Delivery::NeverSent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swarm_that_is_never_polled_fails_its_calls_at_their_deadline() {
    let asleep = Peer::builder().never_polled().start().await;
    let there = WorkbenchClient::new(&asleep).peer(PeerId::random());
    let error = soon("echo", there.echo("x".into()).timeout(Duration::from_millis(200))).await.unwrap_err();
    assert_is(&error, ErrorKind::DeadlineExceeded, Delivery::NeverSent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_cancels_its_handler() {
    let (caller, server, bench) = pair().await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    let call = tokio::spawn(there.hold("x".into()));
    bench.has_waiting(1).await;
    call.abort();
    bench.has_dropped(1).await;
    assert_eq!(soon("echo", there.echo("on".into())).await.unwrap(), "on");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_past_the_limit_are_overloaded_and_never_run() {
    let (caller, server, bench) = pair().await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    assert_eq!(soon("echo", there.echo("open".into())).await.unwrap(), "open");
    let held: Vec<_> = (0..1024).map(|n| tokio::spawn(there.hold(n.to_string()))).collect();
    bench.has_waiting(1024).await;
    let error = soon("one more", there.echo("x".into())).await.unwrap_err();
    assert_is(&error, ErrorKind::Overloaded, Delivery::NeverSent);
    bench.release();
    for (n, call) in held.into_iter().enumerate() {
        assert_eq!(soon("hold", call).await.unwrap().unwrap(), n.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_callers_as_the_limit_that_call_in_a_loop_are_never_overloaded() {
    let (caller, server, _) = pair().await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    let callers = (0..1024).map(|_| {
        let there = there.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                there.echo("x".into()).await?;
            }
            Ok::<(), RpcError>(())
        })
    });
    for caller in soon("all callers", join_all(callers)).await {
        caller.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_past_the_limit_make_senders_wait() {
    let bench = Bench::new();
    let limits = |limits: &mut Limits| limits.max_bytes_per_peer = 1 << 20;
    let server = Peer::builder().serve(bench.service()).limits(limits).start().await;
    let caller = Peer::builder().limits(limits).start().await;
    caller.knows(&server).await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    let calls = (0..32).map(|_| there.echo("x".repeat(300_000)));
    for reply in soon("all echoes", join_all(calls)).await {
        assert_eq!(reply.unwrap().len(), 300_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_takes_no_new_calls_and_one_that_is_gone_makes_none() {
    let (caller, server, bench) = pair().await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    let held = tokio::spawn(there.hold("x".into()));
    bench.has_waiting(1).await;
    server.with(|swarm| swarm.behaviour_mut().go_away()).await;
    let refused = soon("echo", there.echo("x".into())).await.unwrap_err();
    assert_is(&refused, ErrorKind::ShuttingDown, Delivery::NeverSent);
    bench.release();
    assert_eq!(soon("hold", held).await.unwrap().unwrap(), "x");
    caller.kill().await;
    let closed = soon("echo", there.echo("x".into())).await.unwrap_err();
    assert_is(&closed, ErrorKind::Closed, Delivery::NeverSent);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_oneself_and_local_clients_take_the_same_way() {
    let bench = Bench::new();
    let alone = Peer::serving(bench.service()).await;
    let local = WorkbenchClient::local(bench.clone());
    let somebody = PeerId::random();
    for there in [WorkbenchClient::new(&alone).peer(alone.id()), local.peer(somebody)] {
        assert_eq!(soon("echo", there.echo("me".into())).await.unwrap(), "me");
        assert!(soon("divide", there.divide(1, 0)).await.unwrap_err().application().is_some());
        let late = soon("hold", there.hold("x".into()).timeout(Duration::from_millis(50))).await.unwrap_err();
        assert_is(&late, ErrorKind::DeadlineExceeded, Delivery::MayHaveRun);
        let metadata = there.metadata("k".into()).metadata("k", "v");
        assert_eq!(soon("metadata", metadata).await.unwrap().as_deref(), Some("v"));
    }
    let unknown = soon("nothing", OtherClient::new(&alone).peer(alone.id()).nothing()).await.unwrap_err();
    assert_is(&unknown, ErrorKind::NotServed, Delivery::NeverSent);
}

async fn crowd(n: usize) -> (Peer, Vec<Peer>, Vec<Bench>) {
    let (mut servers, mut benches) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let bench = Bench::new();
        servers.push(Peer::serving(bench.service()).await);
        benches.push(bench);
    }
    let caller = Peer::start().await;
    mesh(&servers.iter().chain([&caller]).collect::<Vec<_>>()).await;
    (caller, servers, benches)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multicall_gives_a_result_for_each_peer_in_the_order_asked() {
    let (caller, servers, _) = crowd(4).await;
    let nobody = PeerId::random();
    let asked = [servers[2].id(), nobody, servers[0].id(), servers[2].id(), servers[3].id()];
    let replies = soon("echo", async { WorkbenchClient::new(&caller).peers(asked).echo("hi".into()).await }).await;
    assert_eq!(replies.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), asked);
    for (peer, reply) in replies {
        match reply {
            Ok(text) => assert_eq!(text, "hi"),
            Err(error) => {
                assert_eq!(peer, nobody);
                assert_is(&error, ErrorKind::Unreachable, Delivery::NeverSent);
            }
        }
    }
    let none = WorkbenchClient::new(&caller).peers([]).echo("hi".into()).await;
    assert!(none.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_come_as_they_are_made_and_the_rest_is_cancelled_when_enough_came() {
    let (caller, servers, benches) = crowd(4).await;
    let ids: Vec<_> = servers.iter().map(Peer::id).collect();
    let client = WorkbenchClient::new(&caller);
    benches[1].release();
    let mut replies = client.peers(ids.clone()).hold("x".into()).replies();
    let (first, reply) = soon("the first", replies.next()).await.unwrap();
    assert_eq!((first, reply.unwrap().as_str()), (ids[1], "x"));
    benches[3].has_waiting(1).await;
    drop(replies);
    benches[3].has_dropped(1).await;
    let (winner, _) = soon("first_ok", client.peers(ids.clone()).hold("y".into()).first_ok()).await.unwrap();
    assert_eq!(winner, ids[1]);
    benches[2].release();
    let two = soon("quorum", client.peers(ids.clone()).hold("z".into()).quorum(2)).await.unwrap();
    let mut answered: Vec<_> = two.into_iter().map(|(peer, _)| peer).collect();
    answered.sort_unstable();
    let mut expected = [ids[1], ids[2]];
    expected.sort_unstable();
    assert_eq!(answered, expected);
    let few = client.peers(ids).hold("w".into()).timeout(Duration::from_millis(300)).quorum(3);
    assert_eq!(soon("too few", few).await.unwrap_err().ok().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_whose_turn_does_not_come_in_time_were_never_sent_anything() {
    let (caller, servers, benches) = crowd(3).await;
    let ids: Vec<_> = servers.iter().map(Peer::id).collect();
    let held = WorkbenchClient::new(&caller).peers(ids).hold("x".into()).concurrency(1);
    let replies = soon("hold", async { held.timeout(Duration::from_millis(500)).await }).await;
    let deliveries: Vec<_> = replies.errors().map(|(_, error)| error.delivery()).collect();
    assert_eq!(deliveries, [Delivery::MayHaveRun, Delivery::NeverSent, Delivery::NeverSent]);
    assert!(replies.errors().all(|(_, error)| error.kind() == ErrorKind::DeadlineExceeded));
    benches[0].has_dropped(1).await;
}
