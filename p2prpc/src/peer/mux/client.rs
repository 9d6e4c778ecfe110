//! The opener's end of a call stream: it calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use super::client_shared::{InFlight, PeerLimits, Refused, Shared};
use super::in_flight::Calls;
use super::send_queue::{BULK_FROM, Bulk, SendQueue};
use crate::call::{PendingCall, Place, Request};
use crate::clock::now;
use crate::error::{Delivery, ErrorKind, RpcError};
use crate::framing::hello;
use crate::limits::Limits;
use crate::peer::connection::Connection;
use crate::peer::queue::too_late;
use crate::peer::session_config::{Counters, SessionConfig};
use crate::sync::Mutex;
use crate::wire::{self, Hello, MetadataBuf};

pub(crate) use super::pipe::ByteStream;
use super::pipe::Pipe;

/// A call stream of ours, as those who call see it.
pub(crate) struct ClientStream {
    pub(super) number: u64,
    pub(super) connection: Arc<Connection>,
    /// Locked before `shared` where both are.
    pub(super) pipe: Mutex<Pipe>,
    pub(super) shared: Mutex<Shared>,
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

fn invalid(error: wire::WireError) -> Refused {
    Refused::Failed(RpcError::never_sent(ErrorKind::InvalidRequest, error))
}
