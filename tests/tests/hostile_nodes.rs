//! Peers that a node asks who they are, and that answer badly. Meanwhile honest nodes find and call each other.

use std::time::Duration;

use p2prpc::prelude::*;
use p2prpc::wire::{ErrorCode, Frame, MetadataRef, Reply};
use p2prpc_tests::hostile::{Got, PROTOCOL, Probe, RawPeer, TargetClient, TargetServer};
use tokio::task::JoinSet;

async fn node(bootstrap: Option<&Node>) -> Node {
    let builder = Node::builder().protocol(PROTOCOL).listen("/ip4/127.0.0.1/tcp/0").rendezvous("hostile/nodes");
    let known = bootstrap.and_then(|node| node.addresses().into_iter().next());
    builder.bootstrap(known).serve(TargetServer::new(Probe::default())).start().await.expect("a node starts")
}

/// How a hostile peer answers what a node asks.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Nothing,
    Reset,
    Garbage,
    Failure,
    GoAway,
    Endless,
}

/// Connects to a node, claims to speak the protocol, and answers so, stream after stream. Gives how many streams it was asked on.
async fn answer(mut raw: RawPeer, node: PeerId, how: Answer) -> usize {
    let mut claim = raw.open(node).await.expect("the node takes a stream");
    claim.hello().await;
    let mut kept = Vec::new();
    for streams in 0.. {
        let asked = tokio::time::timeout(Duration::from_secs(4), raw.accept_any()).await;
        let Ok(Some(mut stream)) = asked else { return streams };
        if matches!(how, Answer::Reset) {
            continue;
        }
        stream.hello().await;
        if let Some(Got::Request { id, .. }) = stream.next().await {
            match how {
                Answer::Nothing | Answer::Reset => {}
                Answer::Garbage => stream.respond(id, &[0xff; 1000]).await,
                Answer::Failure => stream.fail(id, ErrorCode::Panicked, "\u{1b}[2J").await,
                Answer::GoAway => {
                    let reason = p2prpc::wire::GoAwayReason::Idle;
                    stream.send(Frame::GoAway { last_call_id: 0, reason, message: "" }).await;
                }
                Answer::Endless => {
                    stream
                        .send(Frame::Response(Reply {
                            id,
                            metadata: MetadataRef::EMPTY,
                            body_len: 4 << 20,
                            chunk: &[],
                        }))
                        .await;
                    for _ in 0..63 {
                        stream.send(Frame::Body { id, chunk: &[0xff; 65_536] }).await;
                    }
                }
            }
        }
        kept.push(stream);
    }
    0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_do_not_say_who_they_are_disturb_no_node_and_join_nothing() {
    let first = node(None).await;
    let address = first.addresses().into_iter().next().expect("it listens");
    let mut hostile = JoinSet::new();
    let mut strangers = Vec::new();
    for how in [Answer::Nothing, Answer::Reset, Answer::Garbage, Answer::Failure, Answer::GoAway, Answer::Endless] {
        let mut raw = RawPeer::start().await;
        raw.connect(&address).await;
        strangers.push(raw.id());
        let id = first.peer_id();
        hostile.spawn(async move { (how, answer(raw, id, how).await) });
    }
    let second = node(Some(&first)).await;
    for node in [&first, &second] {
        let found = tokio::time::timeout(Duration::from_secs(20), node.wait_for_members(1)).await;
        found.expect("the honest nodes find each other").expect("the node runs");
    }
    let stub = TargetClient::new(&second).timeout(Duration::from_secs(3)).peer(first.peer_id());
    for _ in 0..300 {
        stub.echo("honest".into()).await.expect("honest calls go on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for node in [&first, &second] {
        let members = node.members();
        assert!(strangers.iter().all(|stranger| !members.contains_key(stranger)), "{members:?}");
        assert_eq!(members.len(), 1);
    }
    // Nobody was asked in a hot loop.
    drop(second);
    first.shutdown(Duration::from_millis(100)).await;
    while let Some(ended) = hostile.join_next().await {
        let (how, streams) = ended.expect("a hostile peer failed");
        assert!(streams <= 12, "{how:?}: asked on {streams} streams");
    }
}
