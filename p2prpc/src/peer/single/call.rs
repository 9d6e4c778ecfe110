//! One call in a task of its own: until its dialect is known, until there is a place, and until there is an answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::gorpc_client::{self, GoCall};
use super::permits::{Place as Held, Turn};
use super::substreams::Substream;
use super::{BilingualLink, NO_STREAM};
use crate::call::Dialect;
use crate::call::{EitherCall, GoForm, Link, NativeForm};
use crate::call::{PendingCall, Place, RawReply, RawResult};
use crate::clock::now;
use crate::error::{Delivery, ErrorKind, RpcError};
use crate::peer::session::{MAX_RESENDS, lost_too_often, too_late};

/// How often a call that waits for bytes in flight to end looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a call waits for first.
pub(super) enum Start {
    Turn(Turn),
    Undecided(Undecided),
}

/// A call that waits for the peer's dialect.
pub(super) struct Undecided(Arc<BilingualLink>);

impl Undecided {
    pub(super) fn count(link: &Arc<BilingualLink>) -> Self {
        link.undecided.fetch_add(1, Ordering::Relaxed);
        Undecided(link.clone())
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        self.0.undecided.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What has to be so however the task ends, aborted or by a panic too.
struct Task {
    link: Arc<BilingualLink>,
    id: u64,
    slot: Arc<PendingCall>,
}

impl Task {
    /// The call is somebody else's from now on. False if it was given up meanwhile.
    fn resign(&self) -> bool {
        self.link.tasks.lock().running.remove(&self.id).is_some()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.link.config.in_flight.calls.fetch_sub(1, Ordering::Relaxed);
        if self.resign() {
            self.slot.complete(Err(RpcError::may_have_run(ErrorKind::Internal, "the task of the call has ended")));
        }
    }
}

pub(super) fn spawn(link: Arc<BilingualLink>, call: EitherCall, start: Start, slot: &Arc<PendingCall>) {
    link.config.in_flight.calls.fetch_add(1, Ordering::Relaxed);
    // Held until the task is known, so that it can't end before.
    let mut tasks = link.tasks.lock();
    let id = tasks.last_id.saturating_add(1);
    tasks.last_id = id;
    slot.set_place(Place::Sent { stream: NO_STREAM, id });
    let task = Task { link: link.clone(), id, slot: slot.clone() };
    if let Some(running) = link.config.spawner.spawn(run(task, call, start)) {
        tasks.running.insert(id, running.abort_handle());
    }
}

async fn run(task: Task, call: EitherCall, start: Start) {
    let (link, deadline) = (&task.link, call.deadline.into());
    let ready = tokio::select! {
        biased;
        ready = tokio::time::timeout_at(deadline, prepare(link, &call, start)) => {
            ready.unwrap_or_else(|_| Err(too_late()))
        }
        () = link.closing.cancelled() => Err(RpcError::never_sent(ErrorKind::Closed, "")),
    };
    let result = match ready {
        Ok(Ready::Native(native)) => {
            if task.resign() {
                task.slot.set_place(Place::Queued);
                link.native.submit(native.request(&call), &task.slot);
            }
            return;
        }
        Ok(Ready::Gorpc(outgoing)) => {
            let connection = outgoing.substream.connection.clone();
            let answer = tokio::time::timeout_at(deadline, make(link, outgoing, call.again)).await;
            answer.unwrap_or_else(|_| {
                connection.note_unanswered(now());
                Err(RpcError::may_have_run(ErrorKind::DeadlineExceeded, "no answer came in time"))
            })
        }
        Err(error) => Err(error),
    };
    if task.resign() {
        task.slot.complete(result);
    }
}

/// A call that can go out.
enum Ready<'a> {
    Native(&'a NativeForm),
    Gorpc(Outgoing),
}

struct Outgoing {
    call: GoCall,
    substream: Substream,
    _place: Held,
    _bytes: InFlight,
}

/// Bytes of arguments in flight.
struct InFlight {
    link: Arc<BilingualLink>,
    bytes: usize,
}

impl InFlight {
    /// Waits until they fit. A call that is alone fits always.
    async fn reserve(link: &Arc<BilingualLink>, bytes: usize) -> Self {
        loop {
            let before = link.config.in_flight.bytes.fetch_add(bytes, Ordering::Relaxed);
            let reserved = InFlight { link: link.clone(), bytes };
            if before == 0 || before.saturating_add(bytes) <= link.config.limits.max_bytes {
                return reserved;
            }
            drop(reserved);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.link.config.in_flight.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Waits for all that the call needs. Nothing of it is sent before.
async fn prepare<'a>(link: &Arc<BilingualLink>, call: &'a EitherCall, start: Start) -> Result<Ready<'a>, RpcError> {
    let (mut turn, mut undecided) = match start {
        Start::Turn(turn) => (Some(turn), None),
        Start::Undecided(undecided) => (None, Some(undecided)),
    };
    let (mut place, mut bytes, mut substream) = (None, None, None);
    let mut lost = 0_u8;
    loop {
        match link.dialect() {
            None => {
                // Nobody tells any more who has been told to: it was lost with its connection.
                substream = link.decide().await.unwrap_or(Ok(None))?;
                continue;
            }
            Some(Dialect::Native) => {
                let other = "the peer came back with another protocol";
                let missing = || RpcError::never_sent(ErrorKind::ConnectionLost, other);
                let native = call.native.as_ref().ok_or_else(missing)?;
                return native.as_ref().map(Ready::Native).map_err(Clone::clone);
            }
            Some(Dialect::Gorpc) => {}
        }
        let form = form_of(call)?;
        if place.is_none() {
            let turn = match turn.take() {
                Some(turn) => turn,
                None => link.queue_up(call.nested)?,
            };
            undecided = None;
            place = turn.come().await;
        }
        if bytes.is_none() {
            bytes = Some(InFlight::reserve(link, form.args.len()).await);
        }
        let opened = match substream.take() {
            Some(substream) => Some(substream),
            None => open(link).await?,
        };
        let Some(substream) = opened else {
            lost = lost.saturating_add(1);
            if lost > MAX_RESENDS {
                return Err(lost_too_often());
            }
            continue;
        };
        let (Some(place), Some(bytes)) = (place.take(), bytes.take()) else {
            return Err(RpcError::never_sent(ErrorKind::Closed, ""));
        };
        let max_reply = link.config.limits.max_message;
        let call = GoCall { service: form.service, method: form.method, args: form.args, max_reply };
        drop(undecided);
        return Ok(Ready::Gorpc(Outgoing { call, substream, _place: place, _bytes: bytes }));
    }
}

/// A substream for one call; none if the last connection ended meanwhile.
async fn open(link: &BilingualLink) -> Result<Option<Substream>, RpcError> {
    let Some(opening) = link.substreams.want() else { return Ok(None) };
    opening.await.map_or(Ok(None), |opened| opened.map(Some))
}

struct Form {
    service: &'static str,
    method: &'static str,
    args: Bytes,
}

fn form_of(call: &EitherCall) -> Result<Form, RpcError> {
    match &call.gorpc {
        Some(GoForm { service, method, args }) => Ok(Form { service, method, args: args.clone()? }),
        None => Err(not_named()),
    }
}

/// What becomes of a call of a Go peer to a service that has no name there.
pub(crate) fn not_named() -> RpcError {
    let detail = "the peer speaks gorpc, and the service has no name in it: #[p2p_service(gorpc = \"..\")]";
    RpcError::never_sent(ErrorKind::NotSupported, detail)
}

async fn make(link: &BilingualLink, outgoing: Outgoing, again: bool) -> RawResult {
    let Outgoing { call, substream: Substream { io, connection, lost, left }, _place, _bytes } = outgoing;
    connection.note_call(now());
    let result = tokio::select! {
        biased;
        result = gorpc_client::call(io, call) => result,
        () = lost.cancelled() => return Err(RpcError::may_have_run(ErrorKind::ConnectionLost, "")),
        () = left.cancelled(), if again => {
            return Err(RpcError::may_have_run(ErrorKind::ConnectionLost, "the connection is silent"));
        }
    };
    match &result {
        Err(error) if error.kind() == ErrorKind::NotSupported => link.mistaken(),
        Err(error) if error.delivery() != Delivery::Answered => {}
        _ => link.note_answer(),
    }
    result.map(RawReply::in_gorpc)
}
