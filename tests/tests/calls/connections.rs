//! Calls find a connection, keep to it, and outlive the loss of one as far as is safe.

use std::time::Duration;

use futures::future::{join, join_all};
use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{FromSwarm, NetworkBehaviour, ToSwarm};
use p2prpc::behaviour::{Behaviour, Config};
use p2prpc::prelude::*;
use p2prpc_tests::{Bench, LONG, Peer, PeerBuilder, Transport, WorkbenchClient, WorkbenchPeer, connect, mesh, soon};

async fn pair(transport: Transport) -> (Peer, Peer, Bench, WorkbenchPeer) {
    let bench = Bench::new();
    let server = Peer::builder().transport(transport).serve(bench.service()).start().await;
    let caller = Peer::builder().transport(transport).start().await;
    caller.knows(&server).await;
    let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
    (caller, server, bench, there)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_made_at_once_share_one_connection() {
    let (caller, server, _, there) = pair(Transport::Tcp).await;
    let answers = soon("answers", join_all((0..100).map(|n| there.add(n, 0, 0)))).await;
    assert!(answers.into_iter().enumerate().all(|(n, answer)| answer.is_ok_and(|sum| sum == n as i64)));
    assert_eq!((caller.connected_ever(), server.connected_ever()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_join_a_dial_that_is_under_way() {
    for _ in 0..10 {
        let (caller, server, _, there) = pair(Transport::Tcp).await;
        // Someone else dials, and we call before that has ended.
        caller.dial(&server).await;
        assert_eq!(soon("it is answered", there.add(1, 2, 3)).await.unwrap(), 6);
        assert_eq!(caller.connected_ever(), 1);
    }
}

async fn peers_that_call_each_other_at_once(builder: fn() -> PeerBuilder) {
    for _ in 0..10 {
        let (a, b) = (Bench::new(), Bench::new());
        let a = builder().serve(a.service()).start().await;
        let b = builder().serve(b.service()).start().await;
        mesh(&[&a, &b]).await;
        let calls = |from: &Peer, to: &Peer| {
            let there = WorkbenchClient::new(from).timeout(LONG).peer(to.id());
            join_all((0..20).map(move |n| there.add(n, 0, 0)))
        };
        let (there, back) = soon("all answers", join(calls(&a, &b), calls(&b, &a))).await;
        for answer in there.into_iter().chain(back) {
            answer.unwrap_or_else(|error| panic!("{error}"));
        }
        assert!(a.connected_ever() <= 2 && b.connected_ever() <= 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_dial_each_other_at_once_both_get_their_answers_over_tcp() {
    peers_that_call_each_other_at_once(Peer::builder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_dial_each_other_at_once_both_get_their_answers_over_quic() {
    peers_that_call_each_other_at_once(|| Peer::builder().transport(Transport::Quic)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_fails_beside_one_that_works_does_no_harm() {
    let (caller, server, _, there) = pair(Transport::Tcp).await;
    let gone = Peer::start().await;
    let (id, address) = (server.id(), gone.address().clone());
    gone.kill().await;
    caller.with(move |swarm| swarm.add_peer_address(id, address)).await;
    assert_eq!(soon("it is answered", there.add(1, 2, 3)).await.unwrap(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_call_after_a_lost_connection_makes_a_new_one() {
    for transport in [Transport::Tcp, Transport::Quic] {
        let (caller, server, _, there) = pair(transport).await;
        for n in 1..=5 {
            assert_eq!(soon("it is answered", there.add(1, 2, 3)).await.unwrap(), 6);
            assert_eq!(caller.connected_ever(), n);
            if n % 2 == 0 {
                caller.cut_all(&server).await;
            } else {
                server.cut_all(&caller).await;
                caller.has_connections(&server, 0).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_made_while_a_connection_is_being_lost_say_truly_whether_they_ran() {
    let (caller, server, bench, there) = pair(Transport::Tcp).await;
    for round in 0..20 {
        connect(&caller, &server).await;
        let calls = (0..50).map(|n| {
            let (there, tag) = (there.clone(), format!("{round}/{n}"));
            tokio::spawn(async move { (there.count(tag.clone()).await, tag) })
        });
        let calls: Vec<_> = calls.collect();
        caller.cut_all(&server).await;
        for call in soon("all end", join_all(calls)).await {
            let (result, tag) = call.unwrap();
            let ran = bench.seen().counted.get(&tag).copied().unwrap_or(0);
            match result {
                Ok(count) => assert_eq!((count, ran), (1, 1)),
                Err(error) if error.delivery() == Delivery::NeverSent => assert_eq!(ran, 0, "{error}"),
                Err(error) => assert!(error.kind() == ErrorKind::ConnectionLost && ran <= 1, "{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_keep_to_one_of_two_connections_and_move_to_the_other_when_it_is_lost() {
    let (caller, server, bench, there) = pair(Transport::Tcp).await;
    connect(&caller, &server).await;
    there.echo("warm".into()).await.unwrap();
    connect(&caller, &server).await;
    let held = tokio::spawn(there.hold("lost".into()));
    bench.has_waiting(1).await;
    let [first, second] = caller.connections(&server)[..] else { panic!("two connections") };
    caller.cut(first).await;
    let error = soon("it fails", held).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun));
    assert_eq!(soon("it is answered", there.add(1, 2, 3)).await.unwrap(), 6);
    assert_eq!(caller.connections(&server), [second]);
    assert_eq!(caller.connected_ever(), 2, "nobody was dialled for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_that_no_call_is_on_harms_no_call() {
    let (caller, server, bench, there) = pair(Transport::Tcp).await;
    connect(&caller, &server).await;
    there.echo("warm".into()).await.unwrap();
    connect(&caller, &server).await;
    let held = tokio::spawn(there.hold("held".into()));
    bench.has_waiting(1).await;
    caller.cut(caller.connections(&server)[1]).await;
    caller.has_connections(&server, 1).await;
    bench.release();
    assert_eq!(soon("it is answered", held).await.unwrap().unwrap(), "held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_were_not_sent_move_to_the_other_connection_and_those_sent_are_lost() {
    let (caller, server, bench, there) = pair(Transport::Tcp).await;
    connect(&caller, &server).await;
    there.echo("warm".into()).await.unwrap();
    connect(&caller, &server).await;
    // While the server's end of the stream stands still, only so much fits on the way.
    let blocks = tokio::spawn(there.block_reader());
    bench.has_waiting(1).await;
    let tag = |n: usize| format!("{n}:{}", "x".repeat(15_000));
    let small: Vec<_> = (0..200).map(|n| tokio::spawn(there.count(tag(n)))).collect();
    let large: Vec<_> = (0..4).map(|_| tokio::spawn(there.echo("y".repeat(1_000_000)))).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    caller.cut(caller.connections(&server)[0]).await;

    let mut moved = 0;
    for (n, call) in soon("all end", join_all(small)).await.into_iter().enumerate() {
        match call.unwrap() {
            Ok(count) => {
                assert_eq!(count, 1);
                moved += 1;
            }
            Err(error) => {
                let lost = (ErrorKind::ConnectionLost, Delivery::MayHaveRun);
                assert_eq!((error.kind(), error.delivery()), lost, "call {n}: {error}");
            }
        }
    }
    assert!(moved > 100, "{moved} calls moved");
    assert!(moved < 200, "some had been sent");
    for call in soon("all end", join_all(large)).await {
        assert_eq!(call.unwrap().map(|text| text.len()).unwrap_or_else(|error| panic!("{error}")), 1_000_000);
    }
    bench.release();
    assert_eq!(soon("it is lost", blocks).await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionLost);
    assert_eq!(soon("it goes on", there.add(1, 2, 3)).await.unwrap(), 6);
    assert!(bench.seen().counted.values().all(|count| *count == 1), "none was run twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotent_calls_are_made_again_after_a_lost_connection_and_others_are_not() {
    let (caller, server, bench, there) = pair(Transport::Tcp).await;
    let again = tokio::spawn(there.count_again("again".into()));
    let once = tokio::spawn(there.hold("once".into()));
    bench.has_waiting(2).await;
    caller.cut_all(&server).await;
    assert_eq!(soon("it is lost", once).await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionLost);
    bench.has_seen("it is called again", |seen| seen.counted.get("again") == Some(&2)).await;
    bench.release();
    assert_eq!(soon("it is answered", again).await.unwrap().unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotent_calls_are_made_three_times_at_most() {
    let (caller, server, bench, there) = pair(Transport::Tcp).await;
    let again = tokio::spawn(there.count_again("again".into()));
    for time in 1..=3 {
        bench.has_seen("it is called", |seen| seen.counted.get("again") == Some(&time) && seen.waiting == 1).await;
        caller.cut_all(&server).await;
    }
    let error = soon("it is lost", again).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun));
    bench.has_dropped(3).await;
    assert_eq!(bench.seen().counted["again"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_call_that_ran_says_so_though_the_last_attempt_reached_nobody() {
    let (caller, server, bench, there) = pair(Transport::Tcp).await;
    let again = tokio::spawn(there.count_again("again".into()));
    bench.has_waiting(1).await;
    server.kill().await;
    let error = soon("it fails", again).await.unwrap().unwrap_err();
    assert_eq!(error.delivery(), Delivery::MayHaveRun, "{error}");
    assert_eq!(caller.connected_ever(), 1);
}

/// Connections are lost, dialled again and lost for good at moments of a schedule: whatever says `NeverSent` never ran.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_says_never_sent_ran_whatever_was_lost_and_when() {
    for seed in 0..24_u64 {
        // The pauses of a schedule, in ms.
        let pause = move |n: u64| Duration::from_millis((seed * 7919 + n * 104_729) % 23);
        let (caller, server, bench, there) = pair(Transport::Tcp).await;
        let calls: Vec<_> = (0..24)
            .map(|n| {
                let (there, tag) = (there.clone(), format!("{seed}/{n}"));
                tokio::spawn(async move {
                    tokio::time::sleep(pause(n) * 4).await;
                    let call = there.count_again(tag.clone()).timeout(Duration::from_millis(400));
                    (call.await.map(drop).map_err(|error| error.delivery()), tag)
                })
            })
            .collect();
        for n in 0..seed % 4 {
            tokio::time::sleep(pause(100 + n)).await;
            caller.cut_all(&server).await;
        }
        tokio::time::sleep(pause(200)).await;
        let mut server = Some(server);
        if seed % 3 == 0
            && let Some(server) = server.take()
        {
            server.kill().await;
        }
        tokio::time::sleep(pause(300)).await;
        bench.release();
        for call in soon("all end", join_all(calls)).await {
            let (result, tag) = call.unwrap();
            let ran = bench.seen().counted.get(&tag).copied().unwrap_or(0);
            match result {
                Ok(()) => assert!(ran > 0, "{tag}"),
                Err(Delivery::NeverSent) => assert_eq!(ran, 0, "{tag} says that it was never sent"),
                Err(_) => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_call_that_is_dropped_before_it_is_made_again_is_not() {
    let (caller, server, bench, there) = pair(Transport::Tcp).await;
    let again = tokio::spawn(there.count_again("again".into()));
    bench.has_waiting(1).await;
    caller.cut_all(&server).await;
    again.abort();
    tokio::time::sleep(Duration::from_millis(200)).await;
    there.add(1, 2, 3).await.unwrap();
    assert!(bench.seen().counted["again"] <= 2);
    bench.has_seen("nobody waits for it", |seen| seen.waiting == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_hangs_up_on_everyone_is_not_dialled_for_ever() {
    for server in [Peer::builder().hangs_up(), Peer::builder().hangs_up().transport(Transport::Quic)] {
        let server = server.start().await;
        let caller = Peer::start().await;
        caller.knows(&server).await;
        let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
        for error in soon("they fail", join_all([there.add(1, 2, 3), there.add(4, 5, 6)])).await {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
        }
        assert!(caller.connected_ever() <= 8, "{} connections were made", caller.connected_ever());
    }
}

/// The task of a connection may have ended before the Swarm tells of the connection.
#[tokio::test]
async fn connections_that_end_before_they_are_told_of_are_lost_connections() {
    let mut behaviour = Behaviour::new(PeerId::random(), Config::new("/app/1.0.0").unwrap());
    let server = PeerId::random();
    let there = WorkbenchClient::new(behaviour.handle()).timeout(LONG).peer(server);
    let mut call = std::pin::pin!(soon("it ends", there.add(1, 2, 3)));
    let mut dials = 0;
    let ended = loop {
        let opts = tokio::select! {
            ended = &mut call => break ended,
            next = std::future::poll_fn(|cx| behaviour.poll(cx)) => match next {
                ToSwarm::Dial { opts } => opts,
                _ => continue,
            },
        };
        dials += 1;
        let connection_id = opts.connection_id();
        let address: libp2p::Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        let (role_override, port_use) = (Endpoint::Dialer, PortUse::Reuse);
        behaviour.handle_pending_outbound_connection(connection_id, Some(server), &[], role_override).unwrap();
        let handler =
            behaviour.handle_established_outbound_connection(connection_id, server, &address, role_override, port_use);
        drop(handler.unwrap());
        let endpoint = &ConnectedPoint::Dialer { address, role_override, port_use };
        behaviour.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: server,
            connection_id,
            endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
        behaviour.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: server,
            connection_id,
            endpoint,
            cause: None,
            remaining_established: 0,
        }));
    };
    let error = ended.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::NeverSent), "{error}");
    assert!((2..=8).contains(&dials), "{dials} dials");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_peers_that_all_call_all_get_every_answer() {
    let benches: Vec<_> = (0..8).map(|_| Bench::new()).collect();
    let peers = join_all(benches.iter().map(|bench| Peer::serving(bench.service()))).await;
    mesh(&peers.iter().collect::<Vec<_>>()).await;
    let mut calls = Vec::new();
    for from in &peers {
        for to in peers.iter().filter(|to| to.id() != from.id()) {
            let there = WorkbenchClient::new(from).timeout(LONG).peer(to.id());
            calls.extend((0..20).map(|n| there.add(n, 0, 0)));
        }
    }
    for answer in soon("all answers", join_all(calls)).await {
        answer.unwrap_or_else(|error| panic!("{error}"));
    }
}
