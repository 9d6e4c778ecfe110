//! Calls of a node to itself: the same dispatch, codec and all, without a network.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use libp2p::PeerId;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio_util::compat::TokioAsyncReadCompatExt;
use tokio_util::sync::CancellationToken;

use super::stream::{MAX_STREAMS, serve_streams};
use super::{Admitted, Arriving, Refusal, Server};
use crate::accounts::{BytesPermit, PeerAccount};
use crate::blocking::BlockingPlaces;
use crate::call::{
    Answer, CallDefaults, CallHead, Channel, DEFAULT_TIMEOUT, Handle, Network, OpenedStream, Opening, PendingCall,
    Place, RawReply, Request,
};
use crate::clock::{by, now};
use crate::codec::{CodecId, Format};
use crate::error::{Delivery, ErrorKind, RpcError};
use crate::framing::{Messages, encoded_item_hello};
use crate::limits::Limits;
use crate::members::{Member, Members};
use crate::runtime::Spawner;
use crate::service::{NO_ROOM, NOT_STREAMED, Outcome, Reply, STREAM_WINDOW, Service};

/// The way of a node to itself.
pub(crate) struct LocalChannel {
    server: Arc<Server>,
    account: Arc<PeerAccount>,
    /// Who calls, as handlers see it.
    caller: PeerId,
    running: Arc<Mutex<Running>>,
    spawner: Spawner,
    /// The streaming calls that run.
    streams: Arc<AtomicUsize>,
    stream_places: Arc<Semaphore>,
    hello: Arc<[u8]>,
    /// The node is no more.
    lost: CancellationToken,
}

const NO_RUNTIME: &str = "there is no Tokio runtime to run the handler on";

#[derive(Default)]
struct Running {
    last_id: u64,
    tasks: HashMap<u64, AbortHandle>,
}

impl LocalChannel {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        let caller = server.local();
        LocalChannel::called_by(caller, server)
    }

    fn called_by(caller: PeerId, server: Arc<Server>) -> Self {
        let account = server.accounts().open(caller, None);
        let hello = encoded_item_hello(server.limits()).into();
        LocalChannel {
            server,
            account,
            caller,
            running: Arc::default(),
            spawner: Spawner::here(),
            streams: Arc::default(),
            stream_places: Arc::new(Semaphore::new(MAX_STREAMS)),
            hello,
            lost: CancellationToken::new(),
        }
    }

    pub(crate) fn calls_under_way(&self) -> usize {
        self.running.lock().tasks.len() + self.streams.load(Ordering::Relaxed)
    }

    /// End the calls under way: the node is no more.
    pub(crate) fn end(&self) {
        self.lost.cancel();
        let tasks = std::mem::take(&mut self.running.lock().tasks);
        for task in tasks.into_values() {
            task.abort();
        }
    }

    fn admit(&self, request: &Request<'_>, len: usize) -> Result<(Admitted, BytesPermit), RpcError> {
        let (server, now) = (&self.server, now());
        let refused = |refusal: Refusal| match refusal {
            // It is no peer that is leaving.
            Refusal::Leaving => RpcError::never_sent(ErrorKind::Closed, ""),
            other => RpcError::never_sent(other.kind(), other.detail()),
        };
        let left = request.head.deadline.saturating_duration_since(now);
        let metadata = request.metadata.clone();
        let call = Arriving { peer: self.caller, metadata, left: Some(left), whole: true, now };
        let router = server.router();
        let call = server.admit(router.find(request.head.method.full), &self.account, call).map_err(refused)?;
        if len > call.entry.max_request(server.limits().max_message) {
            return Err(refused(Refusal::TooLarge));
        }
        let bytes = self.account.reserve(len).ok_or(Refusal::NoRoomForBytes).map_err(refused)?;
        Ok((call, bytes))
    }
}

impl Channel for LocalChannel {
    /// The handler is always a task of its own: calls of a node to itself may nest, and stacks must not.
    fn submit(&self, request: Request<'_>, pending: &Arc<PendingCall>) {
        if !self.spawner.has_runtime() {
            let error = RpcError::never_sent(ErrorKind::InvalidRequest, NO_RUNTIME);
            return pending.complete(Err(error));
        }
        let admitted = request.payload.natively().and_then(|body| Ok((self.admit(&request, body.len())?, body)));
        let ((call, bytes), body) = match admitted {
            Ok((admitted, body)) => (admitted, request.payload.keep(body)),
            Err(error) => return pending.complete(Err(error)),
        };
        let (server, account, running) = (self.server.clone(), self.account.clone(), self.running.clone());
        let (codec, owned) = (request.head.codec, pending.clone());
        // Held until the task is known, so that it can't end before.
        let mut table = self.running.lock();
        table.last_id += 1;
        let id = table.last_id;
        pending.set_place(Place::Task(id));
        let ending = Ending(pending.clone());
        let task = self.spawner.spawn(async move {
            let max_reply = server.limits().max_message;
            let (handler, permit, deadline) = server.start(call, Format::Native(codec), &body, &account, max_reply);
            drop(body);
            let answer = match tokio::time::timeout_at(deadline.into(), handler).await {
                Ok(outcome) => answer_of(outcome),
                Err(_) => Err(RpcError::may_have_run(ErrorKind::DeadlineExceeded, "no answer came in time")).into(),
            };
            drop((permit, bytes));
            running.lock().tasks.remove(&id);
            owned.complete(answer);
            drop(ending);
        });
        // On a runtime that has ended it is over already.
        if let Some(task) = task.filter(|task| !task.is_finished()) {
            table.tasks.insert(id, task.abort_handle());
        }
    }

    /// The server's end of it is served as that of a peer is, as many at once.
    fn open_stream(&self, head: &CallHead) -> Opening {
        if !self.spawner.has_runtime() {
            let error = RpcError::never_sent(ErrorKind::InvalidRequest, NO_RUNTIME);
            return Box::pin(std::future::ready(Err(error)));
        }
        let (server, account, streams) = (self.server.clone(), self.account.clone(), self.streams.clone());
        let (caller, lost, deadline) = (self.caller, self.lost.clone(), head.deadline);
        let (spawner, places, hello) = (self.spawner.clone(), self.stream_places.clone(), self.hello.clone());
        Box::pin(async move {
            let late = || RpcError::never_sent(ErrorKind::DeadlineExceeded, "128 streaming calls are under way");
            let place = by(deadline, places.acquire_owned()).await.ok_or_else(late)?;
            let (near, far) = tokio::io::duplex(STREAM_WINDOW);
            let (max_message, served_until) = (server.limits().max_message, lost.clone());
            spawner.spawn(async move {
                let serving = serve_streams(server, account, caller, streams, far.compat());
                served_until.run_until_cancelled(serving).await;
                // The next one is to find room.
                drop(place);
            });
            Ok(OpenedStream {
                io: Box::new(near.compat()),
                messages: Messages::default(),
                greeted: false,
                was_greeted: false,
                last_id: 0,
                lost,
                permit: None,
                home: None,
                waker: None,
                hello,
                max_message,
            })
        })
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) -> bool {
        self.spawner.spawn(task).is_some()
    }

    fn is_driven_here(&self) -> bool {
        self.spawner.is_here()
    }

    fn cancel(&self, pending: &Arc<PendingCall>) {
        if let Some(Place::Task(id)) = pending.place()
            && let Some(task) = self.running.lock().tasks.remove(&id)
        {
            task.abort();
        }
    }
}

/// What has to be so however the task ends, dropped with its runtime too.
struct Ending(Arc<PendingCall>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.complete(Err(RpcError::may_have_run(ErrorKind::Cancelled, "the call ended with the node")));
    }
}

fn answer_of(outcome: Outcome) -> Answer {
    let result = match outcome.reply {
        Reply::Value(body) => Ok(RawReply::Value(body.into_bytes())),
        Reply::Error(body) => Ok(RawReply::Error(body.into_bytes())),
        Reply::Failed(kind, detail) => Err(RpcError::new(kind, delivery_of(kind), detail)),
        Reply::NoRoom => Err(RpcError::answered(ErrorKind::Overloaded, NO_ROOM)),
        Reply::End => Err(RpcError::answered(ErrorKind::Internal, NOT_STREAMED)),
    };
    Answer { result, metadata: outcome.metadata, gorpc: None }
}

/// Whether a handler has run when a call ends so where it is served.
pub(crate) fn delivery_of(kind: ErrorKind) -> Delivery {
    match kind {
        ErrorKind::Panicked | ErrorKind::BadReply | ErrorKind::TooLarge | ErrorKind::Application => Delivery::Answered,
        ErrorKind::DeadlineExceeded | ErrorKind::Cancelled | ErrorKind::Internal => Delivery::MayHaveRun,
        _ => Delivery::NeverSent,
    }
}

impl Drop for LocalChannel {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for LocalChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalChannel").finish_non_exhaustive()
    }
}

/// A network of one: whoever is called, it is the one service.
#[derive(Debug)]
pub(crate) struct LocalNetwork {
    channel: Arc<LocalChannel>,
    members: Members,
}

impl LocalNetwork {
    /// `caller` is who calls, if not the node itself.
    pub(crate) fn new(service: Service, caller: Option<PeerId>) -> Arc<Self> {
        let handle = Handle::unstarted();
        let server = Arc::new(Server::new(PeerId::random(), Limits::default(), handle.clone()));
        // It is the only one, so no other has its name.
        let _ = server.serve(service);
        let members = Members::new();
        members.insert(server.local(), Member { rendezvous: Arc::default(), services: None, methods: Arc::default() });
        let network = Arc::new(LocalNetwork {
            channel: Arc::new(LocalChannel::called_by(caller.unwrap_or(server.local()), server)),
            members,
        });
        let weak = Arc::downgrade(&network);
        handle.lead_into(weak);
        network
    }
}

impl Network for LocalNetwork {
    fn local_peer(&self) -> PeerId {
        self.channel.server.local()
    }

    fn channel(&self, _: PeerId) -> Arc<dyn Channel> {
        self.channel.clone()
    }

    fn blocking_places(&self) -> &BlockingPlaces {
        self.channel.server.blocking_places()
    }

    fn account(&self, peer: PeerId) -> Arc<PeerAccount> {
        self.channel.server.accounts().open(peer, None)
    }

    fn members(&self) -> &Members {
        &self.members
    }

    fn defaults(&self) -> CallDefaults {
        CallDefaults {
            timeout: DEFAULT_TIMEOUT,
            codec: CodecId::default(),
            max_message: self.channel.server.limits().max_message,
        }
    }
}
