//! One call in a task of its own: until there is a place, until there is a substream, and until there is an answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::AbortHandle;

use super::gorpc_client::{self, GoCall};
use super::{Owner, Single};
use crate::call::{Answer, Dialect, not_named};
use crate::clock::now;
use crate::codec::gorpc::Gorpc;
use crate::error::{Delivery, ErrorKind, RpcError};
use crate::peer::permits::{Permit, Turn};
use crate::peer::queue::{MAX_RESENDS, Queued, lost_too_often, too_late};
use crate::peer::substreams::Substream;

/// What has to be so however the task ends, aborted or by a panic too.
struct Task {
    owner: Arc<dyn Owner>,
    id: u64,
    /// `None` once the call is somebody else's.
    call: Option<Queued>,
}

impl Task {
    /// The call, if nobody has given it up meanwhile. It is somebody else's from now on.
    fn resign(&mut self) -> Option<Queued> {
        let call = self.call.take()?;
        self.owner.single()?.resign(self.id).then_some(call)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.owner.config().in_flight.calls.fetch_sub(1, Ordering::Relaxed);
        if let Some(call) = self.resign() {
            let error = RpcError::may_have_run(ErrorKind::Internal, "the task of the call has ended");
            call.call.complete(Err(error));
        }
    }
}

/// `None` without a runtime: the call has ended then.
pub(super) fn spawn(
    owner: &Arc<dyn Owner>,
    id: u64,
    call: Queued,
    turn: Turn,
    substream: Option<Substream>,
) -> Option<AbortHandle> {
    owner.config().in_flight.calls.fetch_add(1, Ordering::Relaxed);
    let task = Task { owner: owner.clone(), id, call: Some(call) };
    owner.config().spawner.spawn(run(task, turn, substream)).map(|task| task.abort_handle())
}

async fn run(mut task: Task, turn: Turn, substream: Option<Substream>) {
    let owner = task.owner.clone();
    let (Some(single), Some(call)) = (owner.single(), &task.call) else { return };
    let (head, deadline) = (call.head, call.head.deadline.into());
    let ready = tokio::select! {
        biased;
        ready = tokio::time::timeout_at(deadline, prepare(&owner, single, call, turn, substream)) => {
            ready.unwrap_or_else(|_| Err(too_late()))
        }
        () = single.closing.cancelled() => Err(RpcError::never_sent(ErrorKind::Closed, "")),
    };
    let answer = match ready {
        Ok(Ready::Elsewhere) => {
            if let Some(call) = task.resign() {
                owner.take_back(call);
            }
            return;
        }
        Ok(Ready::Here(outgoing)) => {
            let connection = outgoing.substream.connection.clone();
            let answer = tokio::time::timeout_at(deadline, make(&*owner, single, outgoing, head.again)).await;
            answer.unwrap_or_else(|_| {
                connection.note_unanswered(now());
                Err(RpcError::may_have_run(ErrorKind::DeadlineExceeded, "no answer came in time")).into()
            })
        }
        Err(error) => Err(error).into(),
    };
    if let Some(call) = task.resign() {
        call.call.complete(answer);
    }
}

/// What becomes of a call whose turn it is.
enum Ready {
    Here(Outgoing),
    /// The peer isn't known to speak gorpc any more.
    Elsewhere,
}

struct Outgoing {
    call: GoCall,
    substream: Substream,
    _permit: Permit,
    _bytes: InFlight,
}

/// Bytes of arguments in flight.
struct InFlight {
    owner: Arc<dyn Owner>,
    bytes: usize,
}

impl InFlight {
    /// Waits until they fit. A call that is alone fits always.
    async fn reserve(owner: &Arc<dyn Owner>, bytes: usize) -> Self {
        let config = owner.config();
        let reserved = || {
            let fits = |held: usize| {
                (held == 0 || held.saturating_add(bytes) <= config.limits.max_bytes)
                    .then_some(held.saturating_add(bytes))
            };
            let taken = config.in_flight.bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits);
            taken.is_ok().then(|| InFlight { owner: owner.clone(), bytes })
        };
        if let Some(reserved) = reserved() {
            return reserved;
        }
        loop {
            let (_waits, made) = config.wait_for_room();
            if let Some(reserved) = reserved() {
                return reserved;
            }
            made.await;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.owner.config().make_room(self.bytes);
    }
}

/// Waits for all that the call needs. Nothing of it is sent before.
async fn prepare(
    owner: &Arc<dyn Owner>,
    single: &Single,
    call: &Queued,
    turn: Turn,
    mut substream: Option<Substream>,
) -> Result<Ready, RpcError> {
    let (service, method) = call.head.method.gorpc.ok_or_else(not_named)?;
    let args = call.body.in_gorpc(call.head.method)?;
    let Some(permit) = turn.come().await else { return Err(RpcError::never_sent(ErrorKind::Closed, "")) };
    let bytes = InFlight::reserve(owner, args.len()).await;
    let mut lost = 0_u8;
    let substream = loop {
        if owner.dialect() != Some(Dialect::Gorpc) {
            return Ok(Ready::Elsewhere);
        }
        let opened = match substream.take() {
            Some(substream) => Some(substream),
            None => open(single).await?,
        };
        if let Some(substream) = opened {
            break substream;
        }
        lost = lost.saturating_add(1);
        if lost > MAX_RESENDS {
            return Err(lost_too_often());
        }
        // Whoever lost the last connection is about to say that the dialect isn't known any more.
        tokio::task::yield_now().await;
    };
    let max_reply = owner.config().limits.max_message;
    let call = GoCall { service, method, args, max_reply };
    Ok(Ready::Here(Outgoing { call, substream, _permit: permit, _bytes: bytes }))
}

/// A substream for one call; none if the last connection ended meanwhile.
async fn open(single: &Single) -> Result<Option<Substream>, RpcError> {
    let Some(opening) = single.substreams.want() else { return Ok(None) };
    opening.await.map_or(Ok(None), |opened| opened.map(Some))
}

async fn make(owner: &dyn Owner, single: &Single, outgoing: Outgoing, again: bool) -> Answer {
    let Outgoing { call, substream: Substream { io, connection, lost, left }, _permit, _bytes } = outgoing;
    connection.note_call(now());
    let result = tokio::select! {
        biased;
        result = gorpc_client::call(io, call) => result,
        () = lost.cancelled() => return Err(RpcError::may_have_run(ErrorKind::ConnectionLost, "")).into(),
        () = left.cancelled(), if again => {
            return Err(RpcError::may_have_run(ErrorKind::ConnectionLost, "the connection is silent")).into();
        }
    };
    match &result {
        Err(error) if error.kind() == ErrorKind::NotSupported => owner.mistaken(),
        Err(error) if error.delivery() != Delivery::Answered => {}
        _ if single.note_answer() => owner.config().reports.answered_in_gorpc(owner.peer()),
        _ => {}
    }
    Answer { gorpc: Gorpc::AVAILABLE, ..result.into() }
}
