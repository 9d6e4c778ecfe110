//! Each way in which a call can fail has a kind of its own, says whether the handler can have run, and is a sentence.

use std::fmt;
use std::time::Duration;

use futures::future::join_all;
use libp2p::Multiaddr;
use p2prpc::prelude::*;
use p2prpc_tests::{Bench, LONG, MathError, Peer, WorkbenchClient, WorkbenchServer, soon};
use serde::{Deserialize, Serialize};

/// The error is of this kind and delivery, and one line that names method and peer, says what happened and whether it ran.
#[track_caller]
fn is<E: Failure>(error: &E, kind: ErrorKind, delivery: Delivery, sentence: &str) {
    assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{error}");
    let rpc = error.as_rpc().expect("it isn't the handler's own");
    let (method, peer) = (rpc.method().expect("the method is known"), rpc.peer().expect("the peer is known"));
    let said = error.to_string();
    let begins = format!("{method} at {peer}: {sentence}");
    assert!(said.starts_with(&begins), "{said:?} does not begin with {begins:?}");
    assert!(said.ends_with(&format!("({delivery})")), "{said:?} does not say whether it ran");
    assert!(!said.contains('\n'), "{said:?} is more than a line");
}

async fn pair() -> (Peer, Peer, Bench) {
    let bench = Bench::new();
    let server = Peer::serving(bench.service()).await;
    let caller = Peer::start().await;
    caller.knows(&server).await;
    (caller, server, bench)
}

/// What a client built from other definitions believes that there is.
mod imagined {
    use super::*;

    #[p2p_service]
    pub(super) trait Nothing {
        async fn at_all(&self);
    }

    #[p2p_service]
    pub(super) trait Workbench {
        async fn no_such_method(&self);
        async fn add(&self, text: String) -> String;
        async fn echo(&self, text: String) -> u64;
        async fn divide(&self, a: i64, b: i64) -> i64;
        async fn who(&self, more: [u64; 4]) -> String;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_denied_are_one_answer() {
    let bench = Bench::new();
    let by_service = WorkbenchServer::new(bench.clone()).authorize(|call: &CallInfo| call.method() != "Count");
    let server = Peer::serving(by_service).await;
    server.with(|swarm| swarm.behaviour_mut().authorize(|call| call.method() != "Echo")).await;
    let caller = Peer::start().await;
    caller.knows(&server).await;

    let there = WorkbenchClient::new(&caller).peer(server.id());
    let errors = [
        imagined::NothingClient::new(&caller).peer(server.id()).at_all().await.unwrap_err(),
        imagined::WorkbenchClient::new(&caller).peer(server.id()).no_such_method().await.unwrap_err(),
        there.count("denied by the service".into()).await.unwrap_err(),
        there.echo("denied by the node".into()).await.unwrap_err(),
    ];
    for error in &errors {
        is(
            error,
            ErrorKind::NotServed,
            Delivery::NeverSent,
            "the peer serves no such method, or does not let us call it",
        );
        assert_eq!(error.detail(), "", "it gives no hint which it is");
    }
    assert!(bench.seen().counted.is_empty(), "no denied handler has run");
    assert_eq!(there.add(1, 2, 3).await.unwrap(), 6, "others are served");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_call_learns_nothing_of_arguments() {
    let denied = WorkbenchServer::new(Bench::new()).authorize(|_| false);
    let server = Peer::serving(denied).await;
    let caller = Peer::start().await;
    caller.knows(&server).await;
    let wrong = imagined::WorkbenchClient::new(&caller).peer(server.id()).add("not numbers".into());
    assert_eq!(wrong.await.unwrap_err().kind(), ErrorKind::NotServed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_sees_who_calls_what_and_with_which_metadata() {
    let rule = |call: &CallInfo| call.service() == "Workbench" && call.metadata().get("token") == Some("let me in");
    let server = Peer::serving(WorkbenchServer::new(Bench::new()).authorize(rule)).await;
    let (friend, stranger) = (Peer::start().await, Peer::start().await);
    let only = friend.id();
    server.with(move |swarm| swarm.behaviour_mut().authorize(move |call| call.peer() == only)).await;
    for (caller, token, allowed) in
        [(&friend, "let me in", true), (&friend, "please", false), (&stranger, "let me in", false)]
    {
        caller.knows(&server).await;
        let answer = WorkbenchClient::new(caller).peer(server.id()).add(1, 2, 3).metadata("token", token).await;
        assert_eq!(answer.is_ok(), allowed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_panics_denies_and_harms_nobody_else() {
    let rule = |call: &CallInfo| if call.method() == "Echo" { panic!("no rule for this") } else { true };
    let server = Peer::serving(WorkbenchServer::new(Bench::new()).authorize(rule)).await;
    let caller = Peer::start().await;
    caller.knows(&server).await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    assert_eq!(there.echo("hello".into()).await.unwrap_err().kind(), ErrorKind::NotServed);
    assert_eq!(there.add(1, 2, 3).await.unwrap(), 6);
    assert_eq!(caller.connected_ever(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_are_none_of_the_method() {
    let (caller, server, _) = pair().await;
    for codec in CodecId::supported() {
        let wrong = imagined::WorkbenchClient::new(&caller).codec(*codec).peer(server.id());
        let error = wrong.add("not three numbers".into()).await.unwrap_err();
        is(&error, ErrorKind::BadArguments, Delivery::NeverSent, "the peer could not read the arguments");
    }
    // Bytes too many are no more welcome than bytes too few.
    let error = imagined::WorkbenchClient::new(&caller).peer(server.id()).who([1; 4]).await.unwrap_err();
    is(&error, ErrorKind::BadArguments, Delivery::NeverSent, "the peer could not read the arguments");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_none_of_the_method() {
    let (caller, server, _) = pair().await;
    let wrong = imagined::WorkbenchClient::new(&caller).peer(server.id());
    let error = wrong.echo("far more than one number".into()).await.unwrap_err();
    is(&error, ErrorKind::BadReply, Delivery::Answered, "the reply could not be written or read");
    let error = wrong.divide(1, 0).await.unwrap_err();
    is(&error, ErrorKind::BadReply, Delivery::Answered, "the reply could not be written or read");
    assert!(error.detail().contains("cannot fail"), "{error}");
    assert_eq!(wrong.divide(8, 2).await.unwrap(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_handlers_own() {
    let (caller, server, _) = pair().await;
    let error = WorkbenchClient::new(&caller).peer(server.id()).divide(7, 0).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Application, Delivery::Answered));
    assert_eq!(error.application(), Some(&MathError::DivisionByZero { dividend: 7 }));
    assert_eq!(error.to_string(), "7 can't be divided by zero");
    assert!(error.as_rpc().is_none());
}

/// What goes off when a [`Bomb`] is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Trigger {
    Never,
    Serialize,
    Deserialize,
    /// Serialised with an error instead of a panic.
    Refuse,
    Drop,
    Display,
}

/// A value of a user's that panics where nobody expects it.
#[derive(Debug)]
struct Bomb(Trigger);

impl Serialize for Bomb {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Trigger::Serialize => panic!("in Serialize"),
            Trigger::Refuse => Err(serde::ser::Error::custom("it does not want to")),
            trigger => trigger.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Trigger::deserialize(deserializer)? {
            Trigger::Deserialize => panic!("in Deserialize"),
            trigger => Ok(Bomb(trigger)),
        }
    }
}

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Trigger::Display => panic!("in Display"),
            trigger => write!(f, "{trigger:?}"),
        }
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 == Trigger::Drop && !std::thread::panicking() {
            panic!("in Drop");
        }
    }
}

impl From<Bomb> for Trigger {
    fn from(bomb: Bomb) -> Trigger {
        bomb.0
    }
}

#[p2p_service]
trait Minefield {
    async fn panic_at_once(&self);
    async fn panic_later(&self);
    async fn panic_with_a_payload_that_panics(&self);
    async fn panic_when_dropped(&self) -> u64;
    async fn take(&self, bomb: Bomb) -> u64;
    async fn give(&self, trigger: Trigger) -> Bomb;
    async fn fail(&self, trigger: Trigger) -> Result<u64, Bomb>;
    async fn ping(&self) -> u64;
}

struct Mines;

/// Panics when the payload of the panic that it was is dropped.
struct Twice;

impl Drop for Twice {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("again");
        }
    }
}

impl Minefield for Mines {
    async fn panic_at_once(&self) {
        panic!("a secret")
    }

    async fn panic_later(&self) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        panic!("a secret")
    }

    async fn panic_with_a_payload_that_panics(&self) {
        std::panic::panic_any(Twice)
    }

    async fn panic_when_dropped(&self) -> u64 {
        let _twice = Twice;
        std::future::pending().await
    }

    async fn take(&self, bomb: Bomb) -> u64 {
        drop(bomb);
        1
    }

    async fn give(&self, trigger: Trigger) -> Bomb {
        Bomb(trigger)
    }

    async fn fail(&self, trigger: Trigger) -> Result<u64, Bomb> {
        Err(Bomb(trigger))
    }

    async fn ping(&self) -> u64 {
        1
    }
}

/// A call that is under way all the while, on the same stream, and is answered in the end.
async fn beside_another_call<T>(caller: &Peer, server: &Peer, bench: &Bench, what: impl Future<Output = T>) -> T {
    let there = WorkbenchClient::new(caller).timeout(LONG).peer(server.id());
    let held = tokio::spawn(there.hold("held".into()));
    bench.has_waiting(1).await;
    let result = soon("what is to fail", what).await;
    bench.release();
    assert_eq!(soon("the other call", held).await.unwrap().unwrap(), "held");
    assert_eq!(caller.connected_ever(), 1, "the connection has held");
    result
}

async fn minefield() -> (Peer, Peer, Bench, MinefieldPeer) {
    let (caller, server, bench) = pair().await;
    server.serve(MinefieldServer::new(Mines)).await.unwrap();
    let there = MinefieldClient::new(&caller).peer(server.id());
    (caller, server, bench, there)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_fails_its_own_call_and_nothing_else() {
    let (caller, server, bench, there) = minefield().await;
    let errors = beside_another_call(&caller, &server, &bench, async {
        [
            there.panic_at_once().await.unwrap_err(),
            there.panic_later().await.unwrap_err(),
            there.panic_with_a_payload_that_panics().await.unwrap_err(),
        ]
    })
    .await;
    for error in errors {
        is(&error, ErrorKind::Panicked, Delivery::Answered, "the handler panicked");
        assert!(!error.to_string().contains("secret"), "what a panic says stays where it is: {error}");
    }
    assert_eq!(there.ping().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_when_it_is_dropped_harms_nobody() {
    let (caller, server, bench, there) = minefield().await;
    beside_another_call(&caller, &server, &bench, async {
        let error = there.panic_when_dropped().timeout(Duration::from_millis(100)).await.unwrap_err();
        is(&error, ErrorKind::DeadlineExceeded, Delivery::MayHaveRun, "the deadline passed");
        assert_eq!(there.ping().await.unwrap(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_panic_fail_their_own_call_and_nothing_else() {
    let (caller, server, bench, there) = minefield().await;
    beside_another_call(&caller, &server, &bench, async {
        // Here, before anything is sent.
        for trigger in [Trigger::Serialize, Trigger::Refuse] {
            let error = there.take(Bomb(trigger)).await.unwrap_err();
            is(&error, ErrorKind::InvalidRequest, Delivery::NeverSent, "the call could not be made");
        }
        let error = there.take(Bomb(Trigger::Drop)).await.unwrap_err();
        is(&error, ErrorKind::InvalidRequest, Delivery::NeverSent, "the call could not be made");
        // There, before the handler is made.
        let error = there.take(Bomb(Trigger::Deserialize)).await.unwrap_err();
        is(&error, ErrorKind::BadArguments, Delivery::NeverSent, "the peer could not read the arguments");
        // There, after it has run.
        for trigger in [Trigger::Serialize, Trigger::Refuse] {
            let error = there.give(trigger).await.unwrap_err();
            is(&error, ErrorKind::BadReply, Delivery::Answered, "the reply could not be written or read");
            let error = there.fail(trigger).await.unwrap_err();
            is(&error, ErrorKind::BadReply, Delivery::Answered, "the reply could not be written or read");
        }
        let error = there.give(Trigger::Drop).await.unwrap_err();
        is(&error, ErrorKind::Panicked, Delivery::Answered, "the handler panicked");
        let error = there.fail(Trigger::Drop).await.unwrap_err();
        is(&error, ErrorKind::Panicked, Delivery::Answered, "the handler panicked");
        // Here, when the reply is read.
        let error = there.give(Trigger::Deserialize).await.unwrap_err();
        is(&error, ErrorKind::BadReply, Delivery::Answered, "the reply could not be written or read");
        let error = there.fail(Trigger::Deserialize).await.unwrap_err();
        is(&error, ErrorKind::BadReply, Delivery::Answered, "the reply could not be written or read");
        // Display is the caller's own to call.
        let error = there.fail(Trigger::Display).await.unwrap_err();
        assert_eq!(error.application().map(|bomb| bomb.0), Some(Trigger::Display));
        assert_eq!(Trigger::from(there.give(Trigger::Never).await.unwrap()), Trigger::Never);
        assert_eq!(there.take(Bomb(Trigger::Never)).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_in_mid_call() {
    let (caller, server, bench) = pair().await;
    let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
    let call = tokio::spawn(there.hold("gone".into()));
    bench.has_waiting(1).await;
    caller.cut_all(&server).await;
    let error = soon("it fails", call).await.unwrap().unwrap_err();
    is(&error, ErrorKind::ConnectionLost, Delivery::MayHaveRun, "the connection was lost");
    bench.has_dropped(1).await;
    assert_eq!(there.add(1, 2, 3).await.unwrap(), 6, "the next call makes a new connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_dies_in_mid_call() {
    let (caller, server, bench) = pair().await;
    let id = server.id();
    let call = tokio::spawn(WorkbenchClient::new(&caller).peer(id).hold("gone".into()).timeout(LONG));
    bench.has_waiting(1).await;
    server.kill().await;
    let error = soon("it fails", call).await.unwrap().unwrap_err();
    is(&error, ErrorKind::ConnectionLost, Delivery::MayHaveRun, "the connection was lost");
    bench.has_dropped(1).await;
    let error = WorkbenchClient::new(&caller).peer(id).add(1, 2, 3).await.unwrap_err();
    is(&error, ErrorKind::Unreachable, Delivery::NeverSent, "the peer could not be reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_cannot_be_reached() {
    let caller = Peer::start().await;
    let call = |id| WorkbenchClient::new(&caller).peer(id).add(1, 2, 3);

    let error = call(PeerId::random()).await.unwrap_err();
    is(&error, ErrorKind::Unreachable, Delivery::NeverSent, "the peer could not be reached: no address of it is known");

    let gone = Peer::start().await;
    let (id, address) = (gone.id(), gone.address().clone());
    caller.knows(&gone).await;
    gone.kill().await;
    let error = soon("it fails", call(id)).await.unwrap_err();
    is(&error, ErrorKind::Unreachable, Delivery::NeverSent, "the peer could not be reached: ");
    assert!(error.to_string().contains(&address.to_string()), "it says where: {error}");
    assert!(error.to_string().contains("refused"), "it says why: {error}");

    let (someone, other) = (PeerId::random(), Peer::start().await);
    let there: Multiaddr = other.address().clone();
    caller.with(move |swarm| swarm.add_peer_address(someone, there)).await;
    let error = soon("it fails", call(someone)).await.unwrap_err();
    is(&error, ErrorKind::Unreachable, Delivery::NeverSent, "the peer could not be reached: ");
    assert!(error.to_string().contains(&other.id().to_string()), "it says who is there instead: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_speaks_another_applications_protocol() {
    let server = Peer::builder().protocol("/other").serve(Bench::new().service()).start().await;
    for caller in [Peer::builder(), Peer::builder().lazy()] {
        let caller = caller.start().await;
        caller.knows(&server).await;
        for _ in 0..2 {
            let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
            for error in soon("they fail", join_all([there.add(1, 2, 3), there.add(4, 5, 6)])).await {
                let sentence = "the peer does not speak this application's protocol";
                is(&error.unwrap_err(), ErrorKind::NotSupported, Delivery::NeverSent, sentence);
            }
        }
        assert!(WorkbenchClient::new(&caller).members().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_cannot_be_made_as_asked() {
    let (caller, server, _) = pair().await;
    let there = WorkbenchClient::new(&caller).peer(server.id());
    let sentence = "the call could not be made: ";
    let error = there.add(1, 2, 3).metadata("Trace Id", "x").await.unwrap_err();
    is(&error, ErrorKind::InvalidRequest, Delivery::NeverSent, sentence);
    let error = there.add(1, 2, 3).metadata("p2prpc-x", "x").await.unwrap_err();
    is(&error, ErrorKind::InvalidRequest, Delivery::NeverSent, sentence);
    let error = there.add(1, 2, 3).metadata("k", "v".repeat(8192)).await.unwrap_err();
    is(&error, ErrorKind::InvalidRequest, Delivery::NeverSent, sentence);
    let many = (0..65).fold(there.add(1, 2, 3), |call, n| call.metadata(format!("k{n}"), "v"));
    is(&many.await.unwrap_err(), ErrorKind::InvalidRequest, Delivery::NeverSent, sentence);
    assert_eq!(caller.connected_ever(), 0, "nobody was dialled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_codec_that_is_not_there() {
    let (caller, server, _) = pair().await;
    let error =
        WorkbenchClient::new(&caller).codec(CodecId::new(200)).peer(server.id()).add(1, 2, 3).await.unwrap_err();
    is(&error, ErrorKind::UnsupportedCodec, Delivery::NeverSent, "the codec is not supported: ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_shutting_down() {
    let (caller, server, bench) = pair().await;
    let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
    let call = tokio::spawn(there.hold("answered".into()));
    bench.has_waiting(1).await;
    server.with(|swarm| swarm.behaviour_mut().go_away()).await;
    for _ in 0..3 {
        let error = soon("it fails", there.add(1, 2, 3)).await.unwrap_err();
        is(&error, ErrorKind::ShuttingDown, Delivery::NeverSent, "the peer is shutting down");
    }
    assert_eq!(server.with(|swarm| swarm.behaviour().calls_in_flight()).await, 1);
    bench.release();
    assert_eq!(soon("what was under way is answered", call).await.unwrap().unwrap(), "answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_or_going() {
    let (caller, server, bench) = pair().await;
    let (client, handle) = (WorkbenchClient::new(&caller), caller.handle().clone());
    let there = client.peer(server.id());
    let under_way = tokio::spawn(there.hold("answered".into()).timeout(LONG));
    bench.has_waiting(1).await;

    caller.with(|swarm| swarm.behaviour_mut().go_away()).await;
    let error = there.add(1, 2, 3).await.unwrap_err();
    is(&error, ErrorKind::Closed, Delivery::NeverSent, "the node is closed");
    bench.release();
    assert_eq!(soon("what was under way is answered", under_way).await.unwrap().unwrap(), "answered");

    caller.kill().await;
    let error = there.add(1, 2, 3).await.unwrap_err();
    is(&error, ErrorKind::Closed, Delivery::NeverSent, "the node is closed");
    assert_eq!(handle.local_peer_id().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(client.wait_for(1).await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(client.members().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_when_their_own_node_is_dropped() {
    let (caller, server, bench) = pair().await;
    let nowhere = Peer::start().await;
    caller.knows(&nowhere).await;
    let client = WorkbenchClient::new(&caller).timeout(LONG);
    let sent = tokio::spawn(client.peer(server.id()).hold("gone".into()));
    bench.has_waiting(1).await;
    caller.kill().await;
    let error = soon("it fails", sent).await.unwrap().unwrap_err();
    is(&error, ErrorKind::ConnectionLost, Delivery::MayHaveRun, "the connection was lost");
    bench.has_dropped(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_not_been_started() {
    let builder = Node::builder();
    let error = WorkbenchClient::new(builder.handle()).peer(PeerId::random()).add(1, 2, 3).await.unwrap_err();
    is(&error, ErrorKind::NotStarted, Delivery::NeverSent, "the node has not been started");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_failures_at_once_are_each_told() {
    let (caller, server, bench) = pair().await;
    let there = WorkbenchClient::new(&caller).timeout(LONG).peer(server.id());
    let calls: Vec<_> = (0..500).map(|_| tokio::spawn(there.hold("gone".into()))).collect();
    bench.has_waiting(500).await;
    caller.cut_all(&server).await;
    for result in soon("all fail", join_all(calls)).await {
        let error = result.unwrap().unwrap_err();
        is(&error, ErrorKind::ConnectionLost, Delivery::MayHaveRun, "the connection was lost");
    }
    bench.has_dropped(500).await;
}
