//! Calls between a peer that speaks both dialects and one that speaks only that of Go peers.

use std::time::{Duration, Instant};

use futures::future::join_all;
use p2prpc::prelude::*;
use p2prpc_tests::{Bench, LONG, Peer, Transport, WorkbenchClient, WorkbenchPeer, connect, soon};

/// What a Go peer is called at once, and what waits for that.
const AT_ONCE: usize = 48;
const WAITING: usize = 1024;

fn is<E: Failure>(error: &E, kind: ErrorKind, delivery: Delivery) {
    assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{error}");
}

#[p2p_service(gorpc = "TongueAPI")]
trait Tongue {
    async fn dialect(&self, cx: &Context) -> String;
}

#[derive(Clone)]
struct Native;

impl Tongue for Native {
    async fn dialect(&self, cx: &Context) -> String {
        format!("{:?}", cx.dialect())
    }
}

#[p2p_service]
trait Nameless {
    async fn method(&self) -> u8;
}

/// A caller that speaks both, and a peer that serves as Go peers do.
async fn pair_over(transport: Transport) -> (Peer, Peer, Bench, WorkbenchPeer) {
    let bench = Bench::new();
    let caller = Peer::builder().transport(transport).gorpc().start().await;
    let server = Peer::builder().transport(transport).only_gorpc().serve(bench.service());
    let server = server.serve(TongueServer::new(Native)).start().await;
    caller.knows(&server).await;
    let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
    (caller, server, bench, there)
}

async fn pair() -> (Peer, Peer, Bench, WorkbenchPeer) {
    pair_over(Transport::Tcp).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_unknown_dialect_is_called_as_it_turns_out_to_speak() {
    for transport in [Transport::Tcp, Transport::Quic] {
        let (caller, server, _, there) = pair_over(transport).await;
        assert_eq!(soon("it echoes", there.echo("hello".into())).await.unwrap(), "hello");
        assert_eq!(soon("it adds", there.add(1, -2, 300)).await.unwrap(), 299);
        assert_eq!(soon("it knows us", there.who()).await.unwrap(), caller.id().to_string());
        let long = "x".repeat(1 << 20);
        assert_eq!(soon("it echoes more", there.echo(long.clone())).await.unwrap(), long);
        let tongue = TongueClient::new(&caller).peer(server.id());
        assert_eq!(soon("it says how", tongue.dialect()).await.unwrap(), "Gorpc");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_to_an_unknown_peer_are_all_made() {
    let (_caller, _server, _, there) = pair().await;
    for answer in soon("all", join_all((0..100).map(|n| there.add(n, 0, 0)))).await {
        answer.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_speaks_both_is_called_natively() {
    let both = Peer::builder().gorpc().serve(TongueServer::new(Native)).start().await;
    let caller = Peer::builder().gorpc().start().await;
    let old = Peer::start().await;
    for from in [&caller, &old] {
        connect(from, &both).await;
        let tongue = TongueClient::new(from).peer(both.id());
        for answer in soon("they say how", join_all([tongue.dialect(), tongue.dialect()])).await {
            assert_eq!(answer.unwrap(), "Native");
        }
        assert_eq!(soon("again", tongue.dialect()).await.unwrap(), "Native");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_only_gorpc_calls_and_is_called_over_one_connection() {
    let bench = Bench::new();
    let both = Peer::builder().gorpc().serve(bench.service()).start().await;
    let go = Peer::builder().only_gorpc().serve(TongueServer::new(Native)).start().await;
    connect(&go, &both).await;
    let there = WorkbenchClient::new(&go).peer(both.id());
    assert_eq!(soon("it is called", there.add(40, 1, 1)).await.unwrap(), 42);
    let back = TongueClient::new(&both).peer(go.id());
    assert_eq!(soon("it calls back", back.dialect()).await.unwrap(), "Gorpc");
    assert_eq!(both.connected_ever(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_gorpc_turned_on_a_go_peer_is_not_called_and_not_answered() {
    let go = Peer::builder().only_gorpc().serve(TongueServer::new(Native)).start().await;
    let native = Peer::serving(TongueServer::new(Native)).await;
    connect(&native, &go).await;
    let error = soon("it fails", TongueClient::new(&native).peer(go.id()).dialect()).await.unwrap_err();
    is(&error, ErrorKind::NotSupported, Delivery::NeverSent);
    let error = soon("it fails", TongueClient::new(&go).peer(native.id()).dialect()).await.unwrap_err();
    is(&error, ErrorKind::NotSupported, Delivery::NeverSent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lazy_guess_that_is_refused_was_never_sent() {
    let caller = Peer::builder().gorpc().lazy().start().await;
    let other = Peer::builder().protocol("/another").gorpc().start().await;
    caller.knows(&other).await;
    let there = WorkbenchClient::new(&caller).peer(other.id());
    for _ in 0..3 {
        let error = soon("it fails", there.echo("hello".into())).await.unwrap_err();
        is(&error, ErrorKind::NotSupported, Delivery::NeverSent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_a_name_in_go_is_not_called_there() {
    let (caller, server, _, there) = pair().await;
    let nameless = NamelessClient::new(&caller).peer(server.id());
    for _ in 0..2 {
        let error = soon("it fails", nameless.method()).await.unwrap_err();
        is(&error, ErrorKind::NotSupported, Delivery::NeverSent);
        assert!(error.detail().contains("no name"), "{error}");
        there.add(1, 2, 3).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_wait_for_their_turn() {
    let (_caller, _server, bench, there) = pair().await;
    there.add(1, 2, 3).await.unwrap();
    let calls: Vec<_> = (0..1000).map(|n| tokio::spawn(there.hold(n.to_string()))).collect();
    bench.has_waiting(AT_ONCE).await;
    bench.release();
    for (n, answer) in soon("all answer", join_all(calls)).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap().unwrap(), n.to_string());
    }
    assert_eq!(bench.seen().most_waiting, AT_ONCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_past_those_that_may_wait_is_overloaded() {
    let (_caller, _server, bench, there) = pair().await;
    there.add(1, 2, 3).await.unwrap();
    let mut calls: Vec<_> = (0..AT_ONCE + WAITING).map(|_| Box::pin(there.hold(String::new()))).collect();
    for call in &mut calls {
        assert!(futures::poll!(call).is_pending());
    }
    bench.has_waiting(AT_ONCE).await;
    let error = soon("it is refused", there.count("refused".into())).await.unwrap_err();
    is(&error, ErrorKind::Overloaded, Delivery::NeverSent);
    drop(calls.pop());
    let next = tokio::spawn(there.count("next".into()));
    bench.release();
    for answer in soon("all answer", join_all(calls)).await {
        answer.unwrap();
    }
    assert_eq!(soon("its turn comes", next).await.unwrap().unwrap(), 1);
    assert_eq!(bench.seen().counted.get("refused"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_inside_a_handler_has_a_place_of_its_own() {
    let (relay, go, bench, there) = pair().await;
    let here = Bench::new();
    relay.serve(here.service()).await.unwrap();
    connect(&go, &relay).await;
    there.add(1, 2, 3).await.unwrap();
    let holds: Vec<_> = (0..2 * AT_ONCE).map(|_| tokio::spawn(there.hold(String::new()))).collect();
    bench.has_waiting(AT_ONCE).await;
    // Go, Rust, Go: the last one finds all places of others taken.
    let path = vec![go.id().to_string()];
    let call = WorkbenchClient::new(&go).peer(relay.id()).relay(path, "around".into());
    assert_eq!(soon("it doesn't wait for the others", call).await.unwrap(), "around");
    bench.release();
    for hold in soon("the others end", join_all(holds)).await {
        hold.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_is_reset_and_gives_up_its_place() {
    let (_caller, _server, bench, there) = pair().await;
    for round in 1..=3 {
        let calls: Vec<_> = (0..AT_ONCE).map(|_| tokio::spawn(there.hold(String::new()))).collect();
        bench.has_waiting(AT_ONCE).await;
        for call in &calls {
            call.abort();
        }
        bench.has_dropped(round * AT_ONCE).await;
        assert_eq!(soon("there is room", there.add(1, 2, 3)).await.unwrap(), 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passed_deadline_ends_the_call_and_the_handler() {
    let (_caller, _server, bench, there) = pair().await;
    let (began, time) = (Instant::now(), Duration::from_millis(300));
    let error = soon("it ends", there.hold(String::new()).timeout(time)).await.unwrap_err();
    is(&error, ErrorKind::DeadlineExceeded, Delivery::MayHaveRun);
    assert!(began.elapsed() >= time);
    bench.has_dropped(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_turn_does_not_come_was_never_sent() {
    let (_caller, _server, bench, there) = pair().await;
    let holds: Vec<_> = (0..AT_ONCE).map(|_| tokio::spawn(there.hold(String::new()))).collect();
    bench.has_waiting(AT_ONCE).await;
    let late = there.count("late".into()).timeout(Duration::from_millis(200));
    is(&soon("it ends", late).await.unwrap_err(), ErrorKind::DeadlineExceeded, Delivery::NeverSent);
    bench.release();
    for hold in soon("the others end", join_all(holds)).await {
        hold.unwrap().unwrap();
    }
    assert_eq!(bench.seen().counted.get("late"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_ends_calls_and_handlers() {
    for transport in [Transport::Tcp, Transport::Quic] {
        let (caller, server, bench, there) = pair_over(transport).await;
        let call = tokio::spawn(there.hold(String::new()));
        bench.has_waiting(1).await;
        caller.cut_all(&server).await;
        is(&soon("it ends", call).await.unwrap().unwrap_err(), ErrorKind::ConnectionLost, Delivery::MayHaveRun);
        bench.has_dropped(1).await;
        assert_eq!(soon("it is dialled again", there.add(1, 2, 3)).await.unwrap(), 6);
        server.kill().await;
        let error = soon("it is gone", there.add(1, 2, 3)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::ConnectionLost), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_call_is_made_again_after_a_lost_connection() {
    let (caller, server, bench, there) = pair().await;
    let call = tokio::spawn(there.count_again("again".into()));
    bench.has_waiting(1).await;
    caller.cut_all(&server).await;
    bench.has_seen("a second try", |seen| seen.counted.get("again") == Some(&2)).await;
    bench.release();
    assert_eq!(soon("it is answered", call).await.unwrap().unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_of_both_dialects_are_asked_alike() {
    let (caller, go, _, _) = pair().await;
    let native = Peer::serving(TongueServer::new(Native)).await;
    connect(&caller, &go).await;
    connect(&caller, &native).await;
    let tongue = TongueClient::new(&caller);
    let replies = soon("all answer", tongue.peers([go.id(), native.id()]).dialect()).await;
    let said: Vec<_> = replies.into_iter().map(|(peer, answer)| (peer, answer.unwrap())).collect();
    assert_eq!(said, [(go.id(), "Gorpc".to_owned()), (native.id(), "Native".to_owned())]);
    // Both have shown that they speak the protocol, each in its way.
    assert_eq!(soon("both are there", tongue.wait_for(2)).await.unwrap().len(), 2);
    assert_eq!(soon("all answer", tongue.dialect_all()).await.ok().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_oneself_is_native() {
    let node = Peer::builder().gorpc().serve(TongueServer::new(Native)).start().await;
    let itself = TongueClient::new(&node).peer(node.id());
    assert_eq!(soon("it answers", itself.dialect()).await.unwrap(), "Native");
}
