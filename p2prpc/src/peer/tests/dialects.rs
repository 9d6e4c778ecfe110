//! A peer that may speak either dialect, and whose word and deeds differ.

use bytes::Bytes;
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::super::single::Owner as _;
use super::peer::Got;
use super::*;
use crate::call::{Dialect, Encoded, Place, Ticket};
use crate::error::{Delivery, ErrorKind};
use crate::peer::ConnectionKey;
use crate::peer::queue::Queued;

const BOTH: MethodNames = MethodNames::of_test("Probe.Echo", Some(("Probe", "Echo")));

/// A session with a peer that may speak gorpc, and its one connection.
struct Either {
    session: Arc<PeerSession>,
    asked: mpsc::UnboundedReceiver<Arc<PeerSession>>,
    on: Arc<Connection>,
    key: ConnectionKey,
}

impl Either {
    fn new() -> Self {
        let (asks, asked) = mpsc::unbounded_channel();
        let opener = Arc::new(Asks(asks));
        let config = SessionConfig::new(Limits::default(), Duration::from_secs(60), true, opener.clone());
        let session = PeerSession::new(PeerId::random(), Arc::new(config), opener);
        let on = Connection::of_test(1);
        session.connected(on.clone());
        let (key, _lost) = session.single().unwrap().connected(on.clone());
        Either { session, asked, on, key }
    }

    fn head() -> CallHead {
        let deadline = crate::clock::now() + Duration::from_secs(10);
        CallHead { method: &BOTH, codec: CodecId::default(), deadline, again: false, nested: false }
    }

    fn body() -> Encoded {
        let body = Some(Ok(Bytes::from_static(b"\xa1x")));
        Encoded { native: body.clone(), gorpc: body }
    }

    fn call(&self) -> Ticket {
        let (metadata, body) = (Metadata::new(), Self::body());
        let request = Request { head: Self::head(), metadata: &metadata, payload: Payload::Encoded(&body) };
        Ticket::start(self.session.clone(), request, None)
    }

    /// The peer took a substream that was proposed in both for one of gorpc.
    fn in_gorpc(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(1024);
        let substream = self.session.single().unwrap().negotiated(self.key, Box::new(ours.compat()));
        self.session.decided(Dialect::Gorpc, substream);
        theirs
    }

    /// The peer took it for a stream of all calls to come.
    fn natively(&self) -> Peer {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        self.session.attach(&self.on, ours.compat()).expect("it is taken");
        Peer::new(theirs)
    }

    /// A substream for one call is open, if one was asked for.
    fn open_asked(&self) -> Option<DuplexStream> {
        let single = self.session.single().unwrap();
        single.starts_opening(self.key).then(|| {
            let (ours, theirs) = tokio::io::duplex(1024);
            single.opened(self.key, Ok(Box::new(ours.compat())));
            theirs
        })
    }

    async fn is_at_rest(&self) {
        settle().await;
        assert_eq!(self.session.config().in_use(), (0, 0));
    }
}

async fn answer(call: &mut Ticket) -> RawResult {
    poll_fn(|cx| call.poll(cx)).await.result
}

/// All that came before the end of the substream.
async fn heard(mut io: DuplexStream) -> Vec<u8> {
    io.shutdown().await.unwrap();
    let mut all = Vec::new();
    io.read_to_end(&mut all).await.unwrap();
    all
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_the_other_dialect_settles_the_calls_that_waited_for_it() {
    let mut either = Either::new();
    // The peer has named our dialect, and takes a stream that was proposed in both for one of gorpc.
    either.session.decided(Dialect::Native, None);
    let (metadata, head) = (Metadata::new(), CallHead { method: &ECHO, ..Either::head() });
    let request = Request { head, metadata: &metadata, payload: Payload::Borrowed(b"x") };
    let mut call = Ticket::start(either.session.clone(), request, None);
    either.asked.recv().await.expect("a stream is asked for");
    assert!(either.session.wants_stream());
    let _theirs = either.in_gorpc();
    let Err(error) = answer(&mut call).await else { panic!("it can't be answered") };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotSupported, Delivery::NeverSent));
    assert!(!either.session.wants_stream());
    assert!(either.asked.try_recv().is_err(), "no other stream is asked for");
    either.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_in_the_dialect_that_the_peer_turns_out_to_speak() {
    let either = Either::new();
    let mut call = either.call();
    let mut theirs = either.in_gorpc();
    let mut read = vec![0; 1024];
    let n = theirs.read(&mut read).await.unwrap();
    assert!(read[..n].ends_with(b"\xa1x"), "the names and the arguments came: {:?}", &read[..n]);
    drop(theirs);
    assert_eq!(answer(&mut call).await.unwrap_err().delivery(), Delivery::MayHaveRun);
    either.is_at_rest().await;

    let either = Either::new();
    let _call = either.call();
    let mut peer = either.natively();
    assert_eq!(peer.next().await, Some(Got::Hello));
    assert!(matches!(peer.next().await, Some(Got::Request { .. })));
}

/// What a peer of which nothing is known turns out to be, step by step. A call that is dropped before it was sent is never sent.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_at_any_step_is_never_sent_afterwards() {
    for steps in 0..6 {
        for yields in 0..4 {
            let either = Either::new();
            let mut call = Some(either.call());
            let mut sent_to = Vec::new();
            for step in 0..6 {
                if step == steps {
                    for _ in 0..yields {
                        tokio::task::yield_now().await;
                    }
                    // Whatever has been written by now is what may be heard.
                    drop(call.take());
                }
                match step {
                    // It says that it speaks gorpc, then refuses a substream for a call, comes back, ..
                    0 => either.session.decided(Dialect::Gorpc, None),
                    1 => tokio::task::yield_now().await,
                    2 => either.session.mistaken(),
                    3 => tokio::task::yield_now().await,
                    4 => sent_to.extend((steps % 2 == 0).then(|| either.in_gorpc())),
                    _ => sent_to.extend(either.open_asked()),
                }
            }
            let dropped_first = steps < 4;
            settle().await;
            drop(call);
            for io in sent_to {
                let heard = heard(io).await;
                assert!(!dropped_first || heard.is_empty(), "after {steps} steps and {yields} yields: {heard:?}");
            }
            if dropped_first {
                let mut peer = either.natively();
                assert_eq!(peer.next().await, Some(Got::Hello));
                settle().await;
                let next = tokio::time::timeout(Duration::from_secs(1), peer.next()).await;
                assert!(next.is_err(), "after {steps} steps and {yields} yields: {next:?}");
            }
            either.is_at_rest().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_given_up_is_not_taken_back() {
    let either = Either::new();
    let mut peer = either.natively();
    assert_eq!(peer.next().await, Some(Got::Hello));
    let call = Arc::new(PendingCall::new(None));
    call.set_place(Place::Task(1));
    either.session.cancel(&call);
    either.session.take_back(Queued {
        call,
        head: Either::head(),
        metadata: Metadata::new(),
        body: Either::body(),
        resends: 0,
    });
    let next = tokio::time::timeout(Duration::from_secs(1), peer.next()).await;
    assert!(next.is_err(), "{next:?}");
    either.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_taken_back_by_a_node_that_closes_ends_so() {
    let either = Either::new();
    either.session.config().close();
    either.session.close();
    let call = Arc::new(PendingCall::new(None));
    let queued = Queued {
        call: call.clone(),
        head: Either::head(),
        metadata: Metadata::new(),
        body: Either::body(),
        resends: 0,
    };
    either.session.take_back(queued);
    let error = poll_fn(|cx| call.poll(cx)).now_or_never().expect("at once").result.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Closed, Delivery::NeverSent));
    either.is_at_rest().await;
}
