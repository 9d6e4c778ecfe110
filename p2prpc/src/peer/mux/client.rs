//! The opener's end of a call stream: it calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Instant;

use super::in_flight::Calls;
use super::send_queue::{BULK_FROM, Bulk, SendQueue};
use crate::call::{CallHead, PendingCall, Place, Request};
use crate::clock::now;
use crate::codec::CodecId;
use crate::error::{Delivery, ErrorKind, RpcError};
use crate::limits::{Limits, MESSAGE_LIMIT};
use crate::metadata::Metadata;
use crate::peer::connection::Connection;
use crate::peer::queue::too_late;
use crate::peer::session_config::{Counters, SessionConfig};
use crate::sync::Mutex;
use crate::wire::{self, Hello, MetadataBuf};

pub(crate) use super::pipe::ByteStream;
use super::pipe::Pipe;

/// Calls wait while more bytes of small requests than this wait to be written.
const MAX_QUEUED: usize = 32 << 20;

/// Why a stream didn't take a call.
pub(crate) enum Refused {
    /// It takes none any more.
    Gone,
    /// The bytes in flight to this peer leave no room, or it hasn't said yet how much it takes.
    NoRoomYet,
    /// The bytes in flight to all peers leave no room.
    NoRoomForAll,
    /// The call can't be made.
    Failed(RpcError),
}

/// A call stream of ours, as those who call see it.
pub(crate) struct ClientStream {
    pub(super) number: u64,
    pub(super) connection: Arc<Connection>,
    /// Locked before `shared` where both are.
    pub(super) pipe: Mutex<Pipe>,
    pub(super) shared: Mutex<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) out: SendQueue<Metadata>,
    pub(crate) calls: Calls<InFlight>,
    /// What is in flight to the peer, on whichever stream.
    pub(super) of_peer: Arc<Counters>,
    /// What the other end takes: the defaults of the wire until it has said so.
    pub(crate) peer: PeerLimits,
    pub(crate) taking: bool,
    /// It is to end, whatever waits for an answer.
    pub(crate) cut_off: bool,
    /// Its connection is no more: nothing comes but what is here already.
    pub(crate) lost: bool,
    /// No deadline of `calls` is earlier.
    pub(crate) next_deadline: Option<Instant>,
    /// Some call waits until the other end has said what it takes.
    pub(crate) wanted: bool,
    /// Some call waits until less waits to be written.
    pub(crate) was_full: bool,
    /// Calls that were given up while their reply was coming in.
    pub(crate) dropped: Vec<u64>,
}

#[derive(Debug)]
pub(crate) struct PeerLimits {
    pub(crate) known: bool,
    pub(super) calls: usize,
    pub(super) message: usize,
    pub(super) bytes: usize,
}

/// A call under way.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) call: Arc<PendingCall>,
    pub(crate) head: CallHead,
    pub(crate) bytes: usize,
    pub(crate) resends: u8,
}

impl ClientStream {
    /// `of_peer` is shared by all streams to the peer.
    pub(crate) fn new(
        number: u64,
        limits: &Limits,
        connection: Arc<Connection>,
        io: Box<dyn ByteStream>,
        of_peer: Arc<Counters>,
    ) -> Self {
        let mut out = SendQueue::default();
        // The limits of a node are checked when it is made.
        let _ = wire::encode_hello(out.frames(), &hello(limits));
        ClientStream {
            number,
            connection,
            pipe: Mutex::new(Pipe::new(io)),
            shared: Mutex::new(Shared {
                out,
                calls: Calls::new(),
                of_peer,
                peer: PeerLimits::of(&Hello::default(), false),
                taking: true,
                cut_off: false,
                lost: false,
                next_deadline: None,
                wanted: false,
                was_full: false,
                dropped: Vec::new(),
            }),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn is_on(&self, connection: &Arc<Connection>) -> bool {
        Arc::ptr_eq(&self.connection, connection)
    }

    /// True while calls wait for their answers.
    pub(crate) fn has_calls(&self) -> bool {
        !self.shared.lock().calls.is_empty()
    }

    /// Queue a call's frames.
    pub(crate) fn submit(
        &self,
        request: &Request<'_>,
        call: &Arc<PendingCall>,
        resends: u8,
        config: &SessionConfig,
    ) -> Result<(), Refused> {
        let now = now();
        let (head, body) = (request.head, request.payload.natively().map_err(Refused::Failed)?);
        let left = head.deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Err(Refused::Failed(too_late()));
        }
        let metadata = if request.metadata.is_empty() {
            MetadataBuf::default()
        } else {
            MetadataBuf::from_pairs(request.metadata.iter()).map_err(invalid)?
        };
        let (waker, alone) = {
            let mut shared = self.shared.lock();
            shared.room_for(body.len(), config)?;
            let id = shared.calls.next_id();
            let chunk = if body.len() <= BULK_FROM { body } else { &[] };
            let frame = wire::Request {
                id,
                method: head.method.full,
                codec: u64::from(head.codec.get()),
                deadline: Some(left),
                metadata: metadata.view(),
                body_len: body.len() as u64,
                chunk,
            };
            wire::encode_request(shared.out.frames(), &frame).map_err(invalid)?;
            if chunk.len() < body.len() {
                let (body, of) = (request.payload.keep(body), request.metadata.clone());
                shared.out.push_bulk(Bulk { id, head: None, body, sent: 0, of });
            }
            call.set_place(Place::Mux { stream: self.number, id });
            shared.of_peer.bytes.fetch_add(body.len(), Ordering::Relaxed);
            shared.of_peer.calls.fetch_add(1, Ordering::Relaxed);
            config.in_flight.bytes.fetch_add(body.len(), Ordering::Relaxed);
            shared.calls.push(InFlight { call: call.clone(), head, bytes: body.len(), resends });
            config.in_flight.calls.fetch_add(1, Ordering::Relaxed);
            if shared.next_deadline.is_none_or(|next| head.deadline < next) {
                shared.next_deadline = Some(head.deadline);
                (shared.out.take_any_waker(), false)
            } else {
                (shared.out.take_waker(), shared.calls.len() == 1 && body.len() <= BULK_FROM)
            }
        };
        self.connection.note_call(now);
        let Some(waker) = waker else { return Ok(()) };
        if !alone || !self.write_now(&waker) {
            waker.wake();
        }
        Ok(())
    }

    /// Write what is queued here and now, with `waker` for the stream's task. False if that is left to the task.
    ///
    /// With no other call under way nothing will come to share the write, and one task less has to be run.
    fn write_now(&self, waker: &Waker) -> bool {
        let Some(mut pipe) = self.pipe.try_lock() else { return false };
        matches!(pipe.write(&mut Context::from_waker(waker), &self.shared), Ok(true))
    }

    /// True while someone waits for the answer of this call.
    pub(crate) fn awaits(&self, id: u64) -> bool {
        self.shared.lock().calls.contains(id)
    }

    /// The caller has gone. True if the call was still under way.
    pub(crate) fn cancel(&self, id: u64, config: &SessionConfig) -> bool {
        let waker = {
            let mut shared = self.shared.lock();
            if shared.take(id, config).is_none() {
                return false;
            }
            shared.give_up(id);
            shared.out.take_waker()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Its connection is silent: calls that their callers make again end now. The other end is told, if it hears.
    pub(crate) fn give_back(&self, config: &SessionConfig) {
        let (calls, waker) = {
            let mut shared = self.shared.lock();
            let ids: Vec<u64> = shared.calls.iter().filter(|(_, call)| call.head.again).map(|(id, _)| id).collect();
            let mut calls = Vec::with_capacity(ids.len());
            for id in ids {
                if let Some(call) = shared.take(id, config) {
                    let incomplete = shared.give_up(id);
                    calls.push((call.call, incomplete));
                }
            }
            (calls, shared.out.take_waker())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        for (call, incomplete) in calls {
            let delivery = if incomplete { Delivery::NeverSent } else { Delivery::MayHaveRun };
            call.complete(Err(RpcError::new(ErrorKind::ConnectionLost, delivery, "the connection is silent")));
        }
    }

    /// Take no new calls.
    pub(crate) fn retire(&self) {
        self.stop(|_| {});
    }

    /// End, whatever waits for an answer.
    pub(crate) fn cut_off(&self) {
        self.stop(|shared| shared.cut_off = true);
    }

    /// Its connection is no more.
    pub(crate) fn lose(&self) {
        self.stop(|shared| shared.lost = true);
    }

    fn stop(&self, how: impl FnOnce(&mut Shared)) {
        let waker = {
            let mut shared = self.shared.lock();
            shared.taking = false;
            how(&mut shared);
            shared.out.take_any_waker()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn room_for(&mut self, bytes: usize, config: &SessionConfig) -> Result<(), Refused> {
        if !self.taking {
            return Err(Refused::Gone);
        }
        let calls = self.of_peer.calls.load(Ordering::Relaxed);
        if calls >= self.peer.calls.min(config.limits.max_calls_per_peer) {
            let detail = format!("{calls} calls to this peer are in flight (Limits::max_calls_per_peer)");
            return Err(Refused::Failed(RpcError::never_sent(ErrorKind::Overloaded, detail)));
        }
        // What was cancelled counts no more, and still waits to be written.
        if self.is_full() {
            self.was_full = true;
            return Err(Refused::NoRoomYet);
        }
        if bytes > self.peer.message {
            if !self.peer.known {
                self.wanted = true;
                return Err(Refused::NoRoomYet);
            }
            let detail = format!(
                "the peer takes at most {} bytes ({MESSAGE_LIMIT}), the arguments have {bytes}",
                self.peer.message
            );
            return Err(Refused::Failed(RpcError::never_sent(ErrorKind::TooLarge, detail)));
        }
        if !self.fits_peer(bytes, config) {
            self.of_peer.wanted.store(true, Ordering::SeqCst);
            // What ended just now didn't see that it is waited for.
            if !self.fits_peer(bytes, config) {
                return Err(Refused::NoRoomYet);
            }
        }
        let all = config.in_flight.bytes.load(Ordering::SeqCst);
        if all > 0 && all.saturating_add(bytes) > config.limits.max_bytes {
            return Err(Refused::NoRoomForAll);
        }
        Ok(())
    }

    fn fits_peer(&self, bytes: usize, config: &SessionConfig) -> bool {
        let in_flight = self.of_peer.bytes.load(Ordering::SeqCst);
        in_flight == 0 || in_flight.saturating_add(bytes) <= self.peer.bytes.min(config.limits.max_bytes_per_peer)
    }

    /// Too much waits to be written for one more call.
    pub(crate) fn is_full(&self) -> bool {
        self.out.queued_frames().len() >= MAX_QUEUED
    }

    /// Forget a call.
    pub(crate) fn take(&mut self, id: u64, config: &SessionConfig) -> Option<InFlight> {
        let call = self.calls.remove(id)?;
        self.of_peer.bytes.fetch_sub(call.bytes, Ordering::SeqCst);
        self.of_peer.calls.fetch_sub(1, Ordering::Relaxed);
        config.make_room(call.bytes);
        config.in_flight.calls.fetch_sub(1, Ordering::Relaxed);
        Some(call)
    }

    /// Tell the other end that nobody waits for this call any more. True if the request had not left as a whole.
    pub(crate) fn give_up(&mut self, id: u64) -> bool {
        let incomplete = self.out.remove_bulk(id).is_some();
        // An id of ours is never 0.
        let _ = wire::encode_cancel(self.out.frames(), id);
        self.dropped.push(id);
        incomplete
    }
}

impl PeerLimits {
    pub(crate) fn of(hello: &Hello, known: bool) -> Self {
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        PeerLimits {
            known,
            calls: size(hello.max_calls),
            // A body past either is never sent.
            message: size(hello.max_message.min(hello.max_bytes_in_flight)),
            bytes: size(hello.max_bytes_in_flight),
        }
    }
}

/// What this node takes, as it says so.
pub(crate) fn hello(limits: &Limits) -> Hello {
    let least = wire::MIN_LIMIT_BYTES;
    Hello {
        max_calls: limits.calls_of_a_peer() as u64,
        max_message: (limits.max_message as u64).max(least),
        max_bytes_in_flight: (limits.bytes_of_a_peer() as u64).max(least),
        codecs: CodecId::supported().iter().map(|codec| u64::from(codec.get())).collect(),
        ..Hello::default()
    }
}

fn invalid(error: wire::WireError) -> Refused {
    Refused::Failed(RpcError::never_sent(ErrorKind::InvalidRequest, error))
}
