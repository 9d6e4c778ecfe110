//! A call gives what its handler returns, whoever calls whom, over what and through how many.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use p2prpc::InvalidMetadata;
use p2prpc::prelude::*;
use p2prpc_tests::{Bench, LONG, MathError, Peer, Transport, WorkbenchClient, connect, mesh, soon};

async fn pair(transport: Transport) -> (Peer, Peer, Bench) {
    let bench = Bench::new();
    let server = Peer::builder().transport(transport).serve(bench.service()).start().await;
    let caller = Peer::builder().transport(transport).start().await;
    caller.knows(&server).await;
    (caller, server, bench)
}

async fn arguments_arrive_and_values_come_back(transport: Transport) {
    let (caller, server, _) = pair(transport).await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    assert_eq!(soon("echo", there.echo("hello, wörld".into())).await.unwrap(), "hello, wörld");
    assert_eq!(soon("echo", there.echo(String::new())).await.unwrap(), "");
    assert_eq!(soon("add", there.add(1, -20, 300)).await.unwrap(), 281);
    assert_eq!(soon("divide", there.divide(7, 2)).await.unwrap(), 3);
    let error = soon("divide", there.divide(7, 0)).await.unwrap_err();
    assert_eq!(error.application(), Some(&MathError::DivisionByZero { dividend: 7 }));
    assert_eq!(soon("who", there.who()).await.unwrap(), caller.id().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_arrive_and_values_come_back_over_tcp() {
    arguments_arrive_and_values_come_back(Transport::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_arrive_and_values_come_back_over_quic() {
    arguments_arrive_and_values_come_back(Transport::Quic).await;
}

#[tokio::test]
async fn one_thread_is_enough() {
    arguments_arrive_and_values_come_back(Transport::Tcp).await;
}

async fn large_texts_come_back_whole(transport: Transport) {
    let (caller, server, _) = pair(transport).await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    let text = |bytes: usize| (0..bytes).map(|n| char::from(b'a' + (n % 23) as u8)).collect::<String>();
    // Around each size at which a body is cut or carried otherwise, and the largest that goes.
    let sizes = [16 * 1024, 64 * 1024, 128 * 1024, 1 << 20, 4 << 20];
    for bytes in sizes.into_iter().flat_map(|size| [size - 16, size - 5, size + 1]).filter(|size| *size < 4 << 20) {
        let sent = text(bytes);
        let came = soon("echo", there.echo(sent.clone())).await.unwrap();
        assert!(came == sent, "{bytes} bytes come back as {}", came.len());
    }
    let many = join_all((0..32).map(|n| there.echo(text(100_000 + n))));
    for (n, came) in soon("echoes", many).await.into_iter().enumerate() {
        assert!(came.unwrap() == text(100_000 + n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_texts_come_back_whole_over_tcp() {
    large_texts_come_back_whole(Transport::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_texts_come_back_whole_over_quic() {
    large_texts_come_back_whole(Transport::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_call_does_not_wait_for_large_ones() {
    let (caller, server, _) = pair(Transport::Tcp).await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    there.echo("warm".into()).await.unwrap();
    let text = "x".repeat(4_000_000);
    let large = tokio::spawn(join_all((0..12).map(|_| there.echo(text.clone()))));
    let mut answered = 0;
    while !large.is_finished() {
        soon("a small call", there.add(1, 2, 3)).await.unwrap();
        answered += 1;
    }
    assert!(large.await.unwrap().into_iter().all(|came| came.is_ok_and(|came| came.len() == 4_000_000)));
    assert!(answered > 1, "no small call was answered while the large ones were under way");
}

/// So many peers, none of which has been dialled.
async fn strangers(n: usize) -> Vec<Peer> {
    let start = (0..n).map(|_| Peer::serving(Bench::new().service()));
    join_all(start).await
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_peers_never_dialled_before_all_answer_one_client_that_calls_them_at_once() {
    let servers = strangers(32).await;
    let caller = Peer::start().await;
    for server in &servers {
        caller.knows(server).await;
    }
    let client = WorkbenchClient::new(&caller).timeout(LONG);
    let calls = join_all(servers.iter().map(|server| client.peer(server.id()).echo(server.id().to_string())));
    for (answer, server) in soon("32 answers", calls).await.into_iter().zip(&servers) {
        assert_eq!(answer.unwrap(), server.id().to_string());
    }
}

async fn a_burst_of_1000_calls(transport: Transport) {
    let (caller, server, bench) = pair(transport).await;
    let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
    let answers = soon("1,000 answers", join_all((0..1000).map(|n| there.count(n.to_string())))).await;
    let mut answered = 0;
    for answer in answers {
        match answer {
            Ok(count) => {
                assert_eq!(count, 1);
                answered += 1;
            }
            Err(error) => {
                assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::NeverSent), "{error}");
            }
        }
    }
    assert_eq!(bench.seen().counted.len(), answered);
    assert_eq!(answered, 1000, "1,000 are below the limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_1000_calls_to_one_peer_is_answered_over_tcp() {
    a_burst_of_1000_calls(Transport::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_1000_calls_to_one_peer_is_answered_over_quic() {
    a_burst_of_1000_calls(Transport::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_travels_with_a_call() {
    let (caller, server, _) = pair(Transport::Tcp).await;
    let there = WorkbenchClient::new(&caller).metadata("tenant", "blue").peer(server.id());
    let of_call = there.metadata("trace-id".into()).metadata("trace-id", "4bf9 → 2");
    assert_eq!(of_call.await.unwrap().as_deref(), Some("4bf9 → 2"));
    assert_eq!(there.metadata("tenant".into()).await.unwrap().as_deref(), Some("blue"));
    assert_eq!(there.metadata("tenant".into()).metadata("tenant", "red").await.unwrap().as_deref(), Some("red"));
    assert_eq!(there.metadata("other".into()).await.unwrap(), None);
    let largest = "v".repeat(8192 - "tenantblue".len() - "k".len());
    let answer = there.metadata("k".into()).metadata("k", largest.clone()).await.unwrap();
    assert_eq!(answer, Some(largest));
}

#[p2p_service]
trait Labels {
    /// A text of this length, and how often it is to be labelled.
    async fn text(&self, cx: &Context, len: usize, labels: usize) -> String;
    async fn fail(&self, cx: &Context, detail: usize) -> Result<(), String>;
    async fn unlabelled(&self) -> u64;
}

struct Labeller;

impl Labels for Labeller {
    async fn text(&self, cx: &Context, len: usize, labels: usize) -> String {
        for n in 0..labels {
            cx.insert_reply_metadata(format!("label-{n}"), n.to_string()).unwrap();
        }
        let of_task = cx.clone();
        tokio::spawn(async move { of_task.insert_reply_metadata("task", "too").unwrap() }).await.unwrap();
        assert_eq!(cx.insert_reply_metadata("p2prpc-x", ""), Err(InvalidMetadata::Reserved));
        "x".repeat(len)
    }

    async fn fail(&self, cx: &Context, detail: usize) -> Result<(), String> {
        cx.insert_reply_metadata("retry-after", "30").unwrap();
        Err("no".repeat(detail))
    }

    async fn unlabelled(&self) -> u64 {
        7
    }
}

async fn metadata_comes_with_an_answer(transport: Transport) {
    let server = Peer::builder().transport(transport).serve(LabelsServer::new(Labeller)).start().await;
    let caller = Peer::builder().transport(transport).start().await;
    caller.knows(&server).await;
    // Over the network, and of a node to itself.
    for there in [LabelsClient::new(&caller).peer(server.id()), LabelsClient::new(&server).peer(server.id())] {
        for (len, labels) in [(0, 1), (10, 63), (100_000, 2)] {
            let (text, metadata) = soon("a text", there.text(len, labels).with_metadata()).await;
            assert_eq!((text.unwrap().len(), metadata.len()), (len, labels + 1));
            assert_eq!((metadata.get("label-0"), metadata.get("task")), (Some("0"), Some("too")));
        }
        for detail in [1, 100_000] {
            let (error, metadata) = soon("an error", there.fail(detail).with_metadata()).await;
            assert_eq!(error.unwrap_err().application().map(String::len), Some(2 * detail));
            assert_eq!(metadata.iter().collect::<Vec<_>>(), [("retry-after", "30")]);
        }
        let (seven, metadata) = soon("a number", there.unlabelled().with_metadata()).await;
        assert_eq!((seven.unwrap(), metadata.is_empty()), (7, true));
        assert_eq!(soon("a text", there.text(3, 1)).await.unwrap(), "xxx");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_comes_with_an_answer_over_tcp() {
    metadata_comes_with_an_answer(Transport::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_comes_with_an_answer_over_quic() {
    metadata_comes_with_an_answer(Transport::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_answers_callers_of_every_codec() {
    let (caller, server, _) = pair(Transport::Tcp).await;
    let client = WorkbenchClient::new(&caller);
    for codec in CodecId::supported() {
        let there = client.clone().codec(*codec).peer(server.id());
        assert_eq!(there.add(1, 2, 3).await.unwrap(), 6, "{codec}");
        assert_eq!(there.echo("hello".into()).await.unwrap(), "hello", "{codec}");
        let error = there.divide(1, 0).await.unwrap_err();
        assert_eq!(error.application(), Some(&MathError::DivisionByZero { dividend: 1 }), "{codec}");
        let echo = client.peer(server.id()).echo("of one call".into()).codec(*codec);
        assert_eq!(echo.await.unwrap(), "of one call", "{codec}");
    }
    assert_eq!(CodecId::supported().len(), 4);
}

async fn both_call_each_other_on_one_connection(transport: Transport) {
    let (left, right) = (Bench::new(), Bench::new());
    let left = Peer::builder().transport(transport).serve(left.service()).start().await;
    let right = Peer::builder().transport(transport).serve(right.service()).start().await;
    connect(&left, &right).await;
    let (a, b) = (WorkbenchClient::new(&left).peer(right.id()), WorkbenchClient::new(&right).peer(left.id()));
    let text = "x".repeat(200_000);
    let there = join_all((0..50).map(|_| a.echo(text.clone())));
    let back = join_all((0..50).map(|_| b.echo(text.clone())));
    let (there, back) = soon("all answers", futures::future::join(there, back)).await;
    assert!(there.into_iter().chain(back).all(|came| came.is_ok_and(|came| came == text)));
    assert_eq!((left.connected_ever(), right.connected_ever()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_call_each_other_on_one_connection_over_tcp() {
    both_call_each_other_on_one_connection(Transport::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_call_each_other_on_one_connection_over_quic() {
    both_call_each_other_on_one_connection(Transport::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_call_back_and_on_while_they_answer() {
    let (a, b, c) = (Bench::new(), Bench::new(), Bench::new());
    let a = Peer::serving(a.service()).await;
    let b = Peer::serving(b.service()).await;
    let c = Peer::serving(c.service()).await;
    mesh(&[&a, &b, &c]).await;
    let client = WorkbenchClient::new(&a);
    // a calls b, whose handler calls a, whose handler calls b, and so on, through c too.
    let path: Vec<_> = [&a, &b, &c, &a, &c, &b, &a].iter().map(|peer| peer.id().to_string()).collect();
    let relay = client.peer(b.id()).relay(path, "through seven".into());
    assert_eq!(soon("it comes back", relay).await.unwrap(), "through seven");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_nested_calls_as_the_limit_allows_do_not_block_each_other() {
    // The handlers at a that b's handlers call need places while all of b's are taken.
    const LIMIT: usize = 64;
    let small =
        |bench: Bench| Peer::builder().limits(|limits| limits.max_calls_per_peer = LIMIT).serve(bench.service());
    let (a, b) = (small(Bench::new()).start().await, small(Bench::new()).start().await);
    mesh(&[&a, &b]).await;
    let there = WorkbenchClient::new(&a).timeout(LONG).peer(b.id());
    // a -> b -> a -> b: the last hop finds b full, and is told so at once.
    let deep = vec![a.id().to_string(), b.id().to_string()];
    let answers = soon("answers", join_all((0..LIMIT).map(|_| there.relay(deep.clone(), "x".into())))).await;
    for answer in answers {
        match answer {
            Ok(text) => assert_eq!(text, "x"),
            Err(CallError::Application(why)) => assert!(why.contains("too many calls"), "{why}"),
            // A last hop was there before it.
            Err(CallError::Rpc(error)) => assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}"),
        }
    }
    // a -> b -> a fits.
    let back = vec![a.id().to_string()];
    let answers = soon("answers", join_all((0..LIMIT).map(|_| there.relay(back.clone(), "x".into())))).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok_and(|text| text == "x")));
}

mod other {
    use super::*;

    #[p2p_service(name = "Other")]
    pub(super) trait Greeter {
        async fn greet(&self, name: String) -> String;
    }

    pub(super) struct Polite;

    impl Greeter for Polite {
        async fn greet(&self, name: String) -> String {
            format!("Hello, {name}!")
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_serves_several_services_and_more_while_it_runs() {
    let (caller, server, _) = pair(Transport::Tcp).await;
    let workbench = WorkbenchClient::new(&caller).peer(server.id());
    let greeter = other::GreeterClient::new(&caller).peer(server.id());
    assert_eq!(workbench.add(1, 1, 1).await.unwrap(), 3);
    assert_eq!(greeter.greet("Ada".into()).await.unwrap_err().kind(), ErrorKind::NotServed);
    server.serve(other::GreeterServer::new(other::Polite)).await.unwrap();
    assert_eq!(greeter.greet("Ada".into()).await.unwrap(), "Hello, Ada!");
    assert_eq!(workbench.add(1, 1, 1).await.unwrap(), 3);
    let twice = server.serve(other::GreeterServer::new(other::Polite)).await.unwrap_err();
    assert!(twice.to_string().contains("Other is served already"), "{twice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn quick_calls_are_not_held_up_by_slow_handlers() {
    let (caller, server, bench) = pair(Transport::Tcp).await;
    let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
    let slow = tokio::spawn(join_all((0..100).map(|_| there.hold("slow".into()))));
    bench.has_waiting(100).await;
    for n in 0..500 {
        assert_eq!(soon("a quick call", there.add(n, 0, 0)).await.unwrap(), n);
    }
    assert!(!slow.is_finished());
    bench.release();
    assert!(soon("the slow ones", slow).await.unwrap().into_iter().all(|answer| answer.is_ok()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn quick_calls_are_not_held_up_for_long_by_a_method_that_blocks_its_thread() {
    let (caller, server, _) = pair(Transport::Tcp).await;
    let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
    // The first one shows that it blocks; from then on it has tasks of its own.
    there.block(50).await.unwrap();
    let blocking = tokio::spawn({
        let there = there.clone();
        async move {
            for _ in 0..20 {
                join_all((0..3).map(|_| there.block(50))).await;
            }
        }
    });
    let (began, mut answered, mut longest) = (Instant::now(), 0, Duration::ZERO);
    while !blocking.is_finished() {
        let called = Instant::now();
        soon("a quick call", there.add(1, 1, 1)).await.unwrap();
        longest = longest.max(called.elapsed());
        answered += 1;
    }
    let time = began.elapsed();
    // If each blocking call held the reader, 3 of 4 quick ones would take 50 ms: at most 4 in 50 ms then.
    let held_up = time.as_millis() / 50 * 4;
    assert!(answered > held_up, "{answered} quick calls in {time:?}, the longest took {longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_through_a_peer_that_many_others_call_too_are_all_answered() {
    let bench = Bench::new();
    let server = Peer::serving(bench.service()).await;
    let callers = join_all((0..16).map(|_| Peer::start())).await;
    let mut calls = Vec::new();
    for (n, caller) in callers.iter().enumerate() {
        caller.knows(&server).await;
        let there = WorkbenchClient::new(caller).timeout(LONG).peer(server.id());
        calls.extend((0..100).map(|call| there.count(format!("{n}/{call}"))));
    }
    let answers = soon("1,600 answers", join_all(calls)).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok_and(|count| count == 1)));
    let expected: HashMap<_, _> = (0..16).flat_map(|n| (0..100).map(move |call| (format!("{n}/{call}"), 1))).collect();
    assert_eq!(bench.seen().counted, expected);
}
