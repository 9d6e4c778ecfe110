//! The requests of one stream: in order, within limits, whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use hashbrown::HashMap;

use super::cancelled::Cancelled;
use super::server::{ServerStream, answer_at_once, error_frame, size};
use crate::accounts::{BytesPermit, ReplyPermit};
use crate::codec::{CodecId, Format};
use crate::error::{Delivery, ErrorKind};
use crate::metadata::Metadata;
use crate::peer::mux::reassembly::Reassembly;
use crate::peer::mux::send_queue::Writer;
use crate::peer::mux::useless::Useless;
use crate::peer::now as clock;
use crate::server::{Admitted, Arriving, LARGE_BODY, Refusal, Router};
use crate::wire::{self, Frame, Hello, Role};

const TOO_LONG: &str = "a body is longer than announced";

/// A call whose body is still coming in.
pub(crate) struct Coming {
    call: Admitted,
    codec: CodecId,
    bytes: BytesPermit,
}

/// What is known of the requests of one stream.
pub(crate) struct Requests {
    stream: Arc<ServerStream>,
    router: Arc<Router>,
    /// The highest id so far.
    last_id: u64,
    partials: HashMap<u64, Reassembly<Coming>>,
    pub(crate) hello: Option<Hello>,
    pub(crate) greeted: bool,
    /// Calls past this one aren't taken.
    pub(crate) last_taken: Option<u64>,
    /// What the caller takes.
    pub(crate) max_message: usize,
    /// The time when it was last looked at: the clock is read once a call, not more.
    pub(crate) time: Instant,
    /// For so long nothing more is to be read.
    pub(crate) rest: Option<Duration>,
    /// The replies that the writer has.
    pub(crate) replies: ReplyPermit,
    useless: Useless,
    cancelled: Cancelled,
}

/// Why a stream is to be closed.
pub(crate) enum Fault {
    Rule(String),
    /// The caller sends too much that is of no use.
    Useless,
}

impl<T: Into<String>> From<T> for Fault {
    fn from(rule: T) -> Self {
        Fault::Rule(rule.into())
    }
}

impl Requests {
    pub(crate) fn new(stream: Arc<ServerStream>) -> Self {
        let replies = stream.account.replies();
        let pardoned = stream.server.limits().bytes_of_a_peer() as u64;
        Requests {
            router: stream.server.router(),
            stream,
            last_id: 0,
            partials: HashMap::new(),
            hello: None,
            greeted: false,
            last_taken: None,
            max_message: size(Hello::default().max_message),
            time: clock(),
            rest: None,
            replies,
            useless: Useless::new(pardoned, clock()),
            cancelled: Cancelled::new(clock()),
        }
    }

    /// A turn begins: services may have been added.
    pub(crate) fn refresh(&mut self) {
        self.router = self.stream.server.router();
        self.time = clock();
    }

    pub(crate) fn last_id(&self) -> u64 {
        self.last_id
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.partials.is_empty()
    }

    /// A frame came, of whose chunk so much is still to come.
    pub(crate) fn take(
        &mut self,
        frame: Frame<'_>,
        rest: usize,
        now: Instant,
        writer: &mut Writer,
    ) -> Result<(), Fault> {
        if !self.greeted {
            let Frame::Hello(hello) = frame else { return Err("the first frame is not a hello".into()) };
            if hello.role != Role::Calls {
                return Err("streams of one call are not spoken here".into());
            }
            self.greeted = true;
            self.max_message = size(hello.max_message.min(hello.max_bytes_in_flight));
            self.hello = Some(hello);
            return Ok(());
        }
        match frame {
            Frame::Request(request) => Ok(self.request(&request, now, writer)?),
            Frame::Body { id, chunk } => self.body(id, chunk, rest, now, writer),
            Frame::Cancel { id } => self.cancel(id),
            Frame::GoAway { .. } => self.of_no_use(0),
            Frame::Unknown { fields, .. } => self.of_no_use(fields.len()),
            Frame::Hello(_) => Err("a second hello came".into()),
            Frame::Response(_) | Frame::Error(_) => Err("a reply came from the end that calls".into()),
            Frame::Item(_) | Frame::End(_) => Err("an item came on a call stream".into()),
        }
    }

    fn of_no_use(&mut self, bytes: usize) -> Result<(), Fault> {
        if self.useless.frame(bytes, self.time) { Ok(()) } else { Err(Fault::Useless) }
    }

    fn request(&mut self, request: &wire::Request<'_>, now: Instant, writer: &mut Writer) -> Result<(), String> {
        if request.id <= self.last_id {
            return Err("a call id repeats or falls".into());
        }
        self.last_id = request.id;
        self.useless.request();
        self.cancelled.request(now);
        let rest = request.body_len.saturating_sub(request.chunk.len() as u64);
        if self.last_taken.is_some_and(|last| request.id > last) {
            return Ok(());
        }
        match self.admit(request, rest == 0, now) {
            Err(refusal) => {
                refuse(writer, request.id, refusal);
                Ok(())
            }
            Ok(coming) if rest == 0 => {
                self.run(request.id, coming, request.chunk, writer);
                Ok(())
            }
            Ok(coming) => {
                let partial = Reassembly::new(coming, size(request.body_len), request.chunk, now);
                self.partials.insert(request.id, partial);
                Ok(())
            }
        }
    }

    fn admit(&self, request: &wire::Request<'_>, whole: bool, now: Instant) -> Result<Coming, Refusal> {
        let stream = &*self.stream;
        let metadata = Metadata::from_checked(request.metadata.iter());
        let call = Arriving { peer: stream.peer, metadata, left: request.deadline, whole, now };
        let call = stream.server.admit(self.router.find(request.method), &stream.account, call)?;
        let codec = u8::try_from(request.codec).map(CodecId::new).ok().filter(|codec| codec.is_supported());
        let codec = codec.ok_or(Refusal::Codec)?;
        if request.body_len > call.entry.max_request(stream.server.limits().max_message) as u64 {
            return Err(Refusal::TooLarge);
        }
        let len = size(request.body_len);
        let bytes = match whole {
            true => stream.account.reserve(len),
            false => stream.account.reserve_coming(len, request.chunk.len()),
        };
        Ok(Coming { call, codec, bytes: bytes.ok_or(Refusal::NoRoomForBytes)? })
    }

    fn body(&mut self, id: u64, chunk: &[u8], rest: usize, now: Instant, writer: &mut Writer) -> Result<(), Fault> {
        if id > self.last_id {
            return Err("a chunk came for a call that was never made".into());
        }
        // The body of a call that was refused, or is over: let it go by.
        let Some(partial) = self.partials.get_mut(&id) else { return self.of_no_use(chunk.len()) };
        let whole = partial.push(chunk, rest, now).ok_or(TOO_LONG)?;
        self.came(id, whole, writer);
        Ok(())
    }

    /// Where the rest of a chunk goes, if anybody waits for it.
    pub(crate) fn room(&mut self, id: u64, rest: usize) -> Option<Result<&mut [u8], String>> {
        self.partials.get_mut(&id).map(|partial| partial.room(rest).ok_or_else(|| TOO_LONG.into()))
    }

    /// So much of it has been put there.
    pub(crate) fn fill(&mut self, id: u64, n: usize, now: Instant, writer: &mut Writer) {
        if let Some(partial) = self.partials.get_mut(&id) {
            let whole = partial.fill(n, now);
            self.came(id, whole, writer);
        }
    }

    /// More of a body is there, if there is room for it.
    fn came(&mut self, id: u64, whole: bool, writer: &mut Writer) {
        let Some(partial) = self.partials.get_mut(&id) else { return };
        let come = partial.received();
        if !partial.of.bytes.came(come) {
            self.partials.remove(&id);
            refuse(writer, id, Refusal::NoRoomForBytes);
        } else if whole {
            self.complete(id, writer);
        }
    }

    fn complete(&mut self, id: u64, writer: &mut Writer) {
        if let Some(partial) = self.partials.remove(&id) {
            let (mut coming, body) = partial.into_parts();
            if coming.call.permit.begin() {
                if body.len() > LARGE_BODY {
                    self.run_elsewhere(id, coming, body, writer);
                } else {
                    self.run(id, coming, body, writer);
                }
            } else {
                refuse(writer, id, Refusal::NoRoom);
            }
        }
    }

    fn cancel(&mut self, id: u64) -> Result<(), Fault> {
        if id > self.last_id {
            return Err("a call was cancelled that was never made".into());
        }
        let coming = self.partials.remove(&id);
        let running = self.stream.shared.lock().running.remove(&id);
        if let Some(running) = &running {
            running.task.abort();
        }
        if coming.is_none() && running.is_none() {
            return self.of_no_use(0);
        }
        self.rest = self.cancelled.cancel();
        Ok(())
    }

    /// The body is whole: run the handler, here for as long as it doesn't wait.
    fn run(&mut self, id: u64, coming: Coming, body: impl AsRef<[u8]>, writer: &mut Writer) {
        let Coming { call, codec, bytes } = coming;
        let stream = &self.stream;
        let entry = call.entry.clone();
        let began = self.time;
        if call.deadline <= began {
            error_frame(writer.frames(), id, ErrorKind::DeadlineExceeded, Delivery::NeverSent, "");
            return;
        }
        let (mut handler, permit, deadline) =
            stream.server.start(call, Format::Native(codec), body.as_ref(), &stream.account, self.max_message);
        // The answer can have its memory.
        drop(body);
        let unpolled = if entry.spawn_first(began) {
            Some(entry)
        } else {
            let polled = (&mut handler).now_or_never();
            self.time = clock();
            entry.note_first_poll(self.time.saturating_duration_since(began), self.time);
            if let Some(outcome) = polled {
                drop((handler, bytes));
                if let Some(large) = answer_at_once(writer, &mut self.replies, id, outcome) {
                    stream.shared.lock().queue(id, large);
                }
                drop(permit);
                return;
            }
            None
        };
        stream.spawn_handler(id, handler, deadline, permit, bytes, unpolled);
    }

    /// The body is whole and large: what decodes it is not the one who reads.
    fn run_elsewhere(&mut self, id: u64, coming: Coming, body: Bytes, writer: &mut Writer) {
        let Coming { call, codec, bytes } = coming;
        if call.deadline <= self.time {
            error_frame(writer.frames(), id, ErrorKind::DeadlineExceeded, Delivery::NeverSent, "");
            return;
        }
        self.stream.spawn_large(id, call, Format::Native(codec), bytes, body, self.max_message);
    }

    /// Nothing is read: bodies don't stand still by their callers' fault.
    pub(crate) fn excuse(&mut self, now: Instant) {
        for partial in self.partials.values_mut() {
            partial.excuse(now);
        }
    }

    /// End what stands still or is late. Gives when to look again.
    pub(crate) fn expire(&mut self, now: Instant, writer: &mut Writer) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut ended = Vec::new();
        for (id, partial) in &self.partials {
            if partial.of.call.deadline <= now || partial.is_stalled(now) {
                ended.push(*id);
            } else {
                let at = partial.check_at().min(partial.of.call.deadline);
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        for id in ended {
            self.partials.remove(&id);
            let detail = "the arguments did not come in time";
            error_frame(writer.frames(), id, ErrorKind::DeadlineExceeded, Delivery::NeverSent, detail);
        }
        next
    }
}

fn refuse(writer: &mut Writer, id: u64, refusal: Refusal) {
    error_frame(writer.frames(), id, refusal.kind(), Delivery::NeverSent, refusal.detail());
}
