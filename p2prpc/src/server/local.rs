//! Calls of a node to itself: the same dispatch, codec and all, without a network.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;
use libp2p::PeerId;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::{Admitted, Server, TOO_MANY_BYTES};
use crate::call::{Answer, PendingCall, Place, RawReply};
use crate::call::{CallDefaults, DEFAULT_TIMEOUT, Handle, Link, Network, Request};
use crate::clock::now;
use crate::codec::CodecId;
use crate::error::{Delivery, ErrorKind, RpcError};
use crate::limits::{BytesPermit, Limits, PeerAccount};
use crate::members::{Member, Members};
use crate::runtime::Spawner;
use crate::service::{Ended, Form, NO_ROOM, Outcome, Service};

/// The way of a node to itself.
pub(crate) struct LocalLink {
    server: Arc<Server>,
    account: Arc<PeerAccount>,
    /// Who calls, as handlers see it.
    caller: PeerId,
    running: Arc<Mutex<Running>>,
    spawner: Spawner,
}

#[derive(Default)]
struct Running {
    last_id: u64,
    tasks: HashMap<u64, AbortHandle>,
}

impl LocalLink {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        let caller = server.local();
        LocalLink::called_by(caller, server)
    }

    fn called_by(caller: PeerId, server: Arc<Server>) -> Self {
        let account = server.accounts().open(caller, None);
        LocalLink { server, account, caller, running: Arc::default(), spawner: Spawner::here() }
    }

    pub(crate) fn calls_under_way(&self) -> usize {
        self.running.lock().tasks.len()
    }

    /// End the calls under way: the node is no more.
    pub(crate) fn end(&self) {
        let tasks = std::mem::take(&mut self.running.lock().tasks);
        for task in tasks.into_values() {
            task.abort();
        }
    }

    fn admit(&self, request: &Request<'_>) -> Result<(Admitted, BytesPermit), RpcError> {
        let server = &self.server;
        let now = now();
        let left = request.deadline.saturating_duration_since(now);
        let router = server.router();
        let refused = |kind, detail| RpcError::never_sent(kind, detail);
        let (peer, metadata) = (self.caller, request.metadata.clone());
        let call = server
            .admit(&router, &self.account, peer, request.method, metadata, Some(left), true, now)
            .map_err(|refusal| match refusal.kind {
                // It is no peer that is leaving.
                ErrorKind::ShuttingDown => refused(ErrorKind::Closed, ""),
                kind => refused(kind, refusal.detail),
            })?;
        let bytes = self
            .account
            .reserve(request.body.as_slice().len())
            .ok_or_else(|| refused(ErrorKind::Overloaded, TOO_MANY_BYTES))?;
        Ok((call, bytes))
    }
}

impl Link for LocalLink {
    /// The handler is always a task of its own: calls of a node to itself may nest, and stacks must not.
    fn submit(&self, request: Request<'_>, slot: &Arc<PendingCall>) {
        if !self.spawner.has_runtime() {
            let error =
                RpcError::never_sent(ErrorKind::InvalidRequest, "there is no Tokio runtime to run the handler on");
            return slot.complete(Err(error));
        }
        let (call, bytes) = match self.admit(&request) {
            Ok(admitted) => admitted,
            Err(error) => return slot.complete(Err(error)),
        };
        let (server, account, running) = (self.server.clone(), self.account.clone(), self.running.clone());
        let (codec, body, owned_slot) = (request.codec, request.body.to_bytes(), slot.clone());
        // Held until the task is known, so that it can't end before.
        let mut table = self.running.lock();
        table.last_id += 1;
        let id = table.last_id;
        slot.set_place(Place::Sent { stream: 0, id });
        let ending = Ending(slot.clone());
        let task = self.spawner.spawn(async move {
            let max_reply = server.limits().max_message;
            let (handler, permit, deadline) = server.start(call, Form::Native(codec), &body, &account, max_reply);
            drop(body);
            let answer = match tokio::time::timeout_at(deadline.into(), handler).await {
                Ok(outcome) => answer_of(outcome),
                Err(_) => Err(RpcError::may_have_run(ErrorKind::DeadlineExceeded, "no answer came in time")).into(),
            };
            drop((permit, bytes));
            running.lock().tasks.remove(&id);
            owned_slot.complete(answer);
            drop(ending);
        });
        // On a runtime that has ended it is over already.
        if let Some(task) = task.filter(|task| !task.is_finished()) {
            table.tasks.insert(id, task.abort_handle());
        }
    }

    fn is_driven_here(&self) -> bool {
        self.spawner.is_here()
    }

    fn cancel(&self, slot: &Arc<PendingCall>) {
        if let Some(Place::Sent { id, .. }) = slot.place()
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
    let result = match outcome.ended {
        Ended::Response(body) => Ok(RawReply::Response(body.into_bytes())),
        Ended::Application(body) => Ok(RawReply::Application(body.into_bytes())),
        Ended::Failed(kind, detail) => Err(RpcError::new(kind, delivery_of(kind), detail)),
        Ended::NoRoom => Err(RpcError::answered(ErrorKind::Overloaded, NO_ROOM)),
    };
    Answer { result, metadata: outcome.metadata }
}

/// Whether a handler has run when a call ends so where it is served.
pub(crate) fn delivery_of(kind: ErrorKind) -> Delivery {
    match kind {
        ErrorKind::Panicked | ErrorKind::BadReply | ErrorKind::TooLarge | ErrorKind::Application => Delivery::Answered,
        ErrorKind::DeadlineExceeded | ErrorKind::Cancelled | ErrorKind::Internal => Delivery::MayHaveRun,
        _ => Delivery::NeverSent,
    }
}

impl Drop for LocalLink {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for LocalLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLink").finish_non_exhaustive()
    }
}

/// A network of one: whoever is called, it is the one service.
#[derive(Debug)]
pub(crate) struct LocalNetwork {
    link: Arc<LocalLink>,
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
        members.insert(server.local(), Member { rendezvous: Arc::default(), services: None });
        let network = Arc::new(LocalNetwork {
            link: Arc::new(LocalLink::called_by(caller.unwrap_or(server.local()), server)),
            members,
        });
        let weak = Arc::downgrade(&network);
        handle.connect(weak);
        network
    }
}

impl Network for LocalNetwork {
    fn local_peer(&self) -> PeerId {
        self.link.server.local()
    }

    fn link(&self, _: PeerId) -> Arc<dyn Link> {
        self.link.clone()
    }

    fn members(&self) -> &Members {
        &self.members
    }

    fn defaults(&self) -> CallDefaults {
        CallDefaults {
            timeout: DEFAULT_TIMEOUT,
            codec: CodecId::default(),
            max_message: self.link.server.limits().max_message,
        }
    }
}
