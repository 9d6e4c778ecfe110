//! Call streams over pipes, with a peer at the other end that does whatever a test has it do, and a clock that a test moves.

mod accounts;
mod both;
mod bounds;
mod client;
#[cfg(feature = "gorpc")]
mod dialects;
mod fuzz;
mod leaving;
mod models;
mod parts;
mod peer;
mod service;
mod threads;
mod times;

use std::sync::Arc;
use std::time::Duration;

use futures::future::poll_fn;
use libp2p::PeerId;
use tokio::sync::mpsc;
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::{Connection, Opener, PeerSession, Reports, ServerStream, SessionConfig, serve_native};
use crate::accounts::PeerAccount;
use crate::call::{CallHead, Channel, Handle, Payload, PendingCall, RawReply, RawResult, Request};
use crate::codec::{CodecId, MethodNames};
use crate::error::RpcError;
use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::server::Server;
use peer::{Peer, Reads};
use service::Probe;

const ECHO: MethodNames = MethodNames::of_test("Probe.Echo", None);

/// Asks for streams are handed to the test.
struct Asks(mpsc::UnboundedSender<Arc<PeerSession>>);

impl Opener for Asks {
    fn open(&self, session: Arc<PeerSession>) {
        let _ = self.0.send(session);
    }
}

impl Reports for Asks {
    fn greeted(&self, _: PeerId) {}

    fn answered_in_gorpc(&self, _: PeerId) {}

    fn method_differs(&self, _: PeerId, _: &'static str) {}
}

fn session(limits: Limits) -> (Arc<PeerSession>, mpsc::UnboundedReceiver<Arc<PeerSession>>) {
    let (asks, asked) = mpsc::unbounded_channel();
    let opener = Arc::new(Asks(asks));
    let config = SessionConfig::new(limits, Duration::from_secs(60), false, opener.clone());
    (PeerSession::new(PeerId::random(), Arc::new(config), opener), asked)
}

impl PeerSession {
    /// One that nobody opens streams for.
    pub(crate) fn of_test() -> Arc<Self> {
        struct Nobody;
        impl Opener for Nobody {
            fn open(&self, _: Arc<PeerSession>) {}
        }
        impl Reports for Nobody {
            fn greeted(&self, _: PeerId) {}
            fn answered_in_gorpc(&self, _: PeerId) {}
            fn method_differs(&self, _: PeerId, _: &'static str) {}
        }
        let config = SessionConfig::new(Limits::default(), Duration::from_secs(60), false, Arc::new(Nobody));
        PeerSession::new(PeerId::random(), Arc::new(config), Arc::new(Nobody))
    }
}

/// A node that serves, and a peer that has opened a call stream to it.
struct Served {
    server: Arc<Server>,
    account: Arc<PeerAccount>,
    stream: Arc<ServerStream>,
    session: Arc<PeerSession>,
    probe: Arc<Probe>,
    reads: Reads,
    peer: Peer,
}

impl Served {
    fn new(limits: Limits) -> Self {
        Self::with_pipe(limits, 64 * 1024)
    }

    /// The pipe holds so many bytes each way that nobody has read yet.
    fn with_pipe(limits: Limits, pipe: usize) -> Self {
        let server = Arc::new(Server::new(PeerId::random(), limits.clone(), Handle::unstarted()));
        let probe = Arc::<Probe>::default();
        server.serve(service::service(probe.clone())).unwrap();
        let (session, _) = session(limits);
        let account = server.accounts().open(session.peer(), None);
        let (ours, theirs) = tokio::io::duplex(pipe);
        let (io, reads) = peer::counted(ours.compat());
        let stream = serve_native(server.clone(), account.clone(), session.peer(), io);
        Served { server, account, stream, session, probe, reads, peer: Peer::new(theirs) }
    }

    /// Another stream of the same peer.
    fn another(&self, pipe: usize) -> Peer {
        let (ours, theirs) = tokio::io::duplex(pipe);
        serve_native(self.server.clone(), self.account.clone(), self.session.peer(), ours.compat());
        Peer::new(theirs)
    }
}

/// A node that calls, and a peer that is called.
struct Calling {
    session: Arc<PeerSession>,
    asked: mpsc::UnboundedReceiver<Arc<PeerSession>>,
    /// The connection that streams are opened on.
    on: Arc<Connection>,
    /// Calls are made again by their callers.
    again: bool,
}

impl Calling {
    fn new(limits: Limits) -> Self {
        let (session, asked) = session(limits);
        Calling::over(session, asked)
    }

    fn over(session: Arc<PeerSession>, asked: mpsc::UnboundedReceiver<Arc<PeerSession>>) -> Self {
        Calling { session, asked, on: Connection::of_test(1), again: false }
    }

    /// Waits until a stream is asked for, and opens it.
    async fn accept(&mut self, pipe: usize) -> (Peer, Reads) {
        let asking = self.asked.recv().await.expect("the link is there");
        let (ours, theirs) = tokio::io::duplex(pipe);
        let (io, reads) = peer::counted(ours.compat());
        asking.attach(&self.on, io);
        (Peer::new(theirs), reads)
    }

    fn call(&self, body: &[u8], timeout: Duration) -> Ongoing {
        let slot = Arc::new(PendingCall::new(None));
        let head = CallHead {
            method: &ECHO,
            codec: CodecId::default(),
            deadline: super::now() + timeout,
            again: self.again,
            nested: false,
        };
        let request = Request { head, metadata: &Metadata::new(), payload: Payload::Borrowed(body) };
        self.session.submit(request, &slot);
        Ongoing { session: self.session.clone(), slot }
    }
}

/// A call of ours. Dropping it doesn't cancel it.
struct Ongoing {
    session: Arc<PeerSession>,
    slot: Arc<PendingCall>,
}

impl Ongoing {
    async fn result(&self) -> RawResult {
        poll_fn(|cx| self.slot.poll(cx)).await.result
    }

    async fn error(&self) -> RpcError {
        self.result().await.expect_err("the call succeeded")
    }

    async fn reply(&self) -> Vec<u8> {
        match self.result().await.expect("the call failed") {
            RawReply::Value(body) | RawReply::Error(body) => body.to_vec(),
        }
    }

    fn cancel(&self) {
        self.session.cancel(&self.slot);
    }
}

/// Lets all tasks run until each of them waits, without moving the clock far.
async fn settle() {
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
