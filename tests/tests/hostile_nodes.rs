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

/// What a private node says to who isn't known to it, and what to who is.
#[tokio::test]
async fn a_stranger_learns_nothing_of_a_private_node_and_a_friend_is_a_member() {
    let (one, other) = (Identity::generate(), Identity::generate());
    let friends = [one.peer_id(), other.peer_id()];
    let private = |identity: Identity, bootstrap: Option<Multiaddr>| {
        Node::builder()
            .identity(identity)
            .protocol(PROTOCOL)
            .listen("/ip4/127.0.0.1/tcp/0")
            .rendezvous("hostile/private")
            .bootstrap(bootstrap)
            .serve(TargetServer::new(Probe::default()))
            .authorize(move |call| friends.contains(&call.peer()))
            .private()
    };
    let one = private(one, None).start().await.expect("a node starts");
    let at = one.addresses().into_iter().next().expect("it listens");
    let other = private(other, Some(at.clone())).start().await.expect("a node starts");
    let met = tokio::time::timeout(Duration::from_secs(30), one.wait_for_members(1)).await;
    assert_eq!(met.expect("friends meet").expect("the node runs"), [other.peer_id()]);

    let mut stranger = RawPeer::start().await;
    stranger.connect(&at).await;
    let mut stream = stranger.open(one.peer_id()).await.expect("the node takes a stream");
    stream.hello().await;
    let key = p2prpc::rendezvous_key("hostile/private");
    let topics: Vec<[u8; 32]> = vec![key[2..].try_into().expect("a digest")];
    let unknown = Some(Got::Error { id: 1, code: ErrorCode::NotServed, delivery: p2prpc::wire::Delivery::NeverSent });
    stream.call(1, "No.Such", &()).await;
    assert_eq!(stream.next().await, unknown);
    stream.call(2, "p2prpc-membership.Describe", &topics).await;
    assert!(matches!(stream.next().await, Some(Got::Error { id: 2, code: ErrorCode::NotServed, .. })));
    stream.call(3, "p2prpc-membership.List", &(&topics, (0_u64, 0_u64))).await;
    assert!(matches!(stream.next().await, Some(Got::Error { id: 3, code: ErrorCode::NotServed, .. })));
    stream.call(4, "Target.Echo", &"x").await;
    assert!(matches!(stream.next().await, Some(Got::Error { id: 4, code: ErrorCode::NotServed, .. })));
    // Nor is it asked, which would tell it what the rendezvous are.
    let asked = tokio::time::timeout(Duration::from_secs(2), stranger.accept_any()).await;
    assert!(asked.is_err(), "the stranger is asked something");
    assert_eq!(one.members().len(), 1);
}
