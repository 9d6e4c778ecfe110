//! The items of a streaming call, where it is served: those that come, and those that the handler sends.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use futures::Stream;

use super::incoming::{Outcome, Reply, encode_failure};
use super::values::{Received, Sent, Value};
use super::{Method, incoming};
use crate::accounts::{BytesPermit, PeerAccount, ReplyPermit};
use crate::call::ReplyMetadata;
use crate::codec::{CodecId, Format, MethodNames};
use crate::error::sealed::FromReply;
use crate::error::{ErrorKind, RpcError, Wraps};
use crate::panics::caught;
use crate::sync::Mutex;
use crate::wire;

/// So many bytes of items may wait to be taken by a handler, and to be written, beside the item that goes past it.
pub(crate) const STREAM_WINDOW: usize = 64 * 1024;
/// Items are handed over once they are so many bytes, or the next one is not there yet.
const TOGETHER: usize = 16 * 1024;
/// A buffer that has become larger is not kept.
pub(crate) const KEPT: usize = 4 * STREAM_WINDOW;
/// An item that waits for a handler takes so much room beside its bytes, of which it may have none.
const ITEM_OVERHEAD: usize = 16;

/// Items one behind the other.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    /// What large ones hold of the caller's account.
    permits: Vec<BytesPermit>,
}

impl Batch {
    /// The room that it takes.
    fn size(&self) -> usize {
        self.bytes.len().saturating_add(self.ends.len().saturating_mul(ITEM_OVERHEAD))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        self.ends.clear();
        self.permits.clear();
    }
}

#[derive(Debug, Default)]
struct Coming {
    batch: Batch,
    end: Option<Result<(), RpcError>>,
    /// Who waits for an item.
    taker: Option<Waker>,
    /// Who waits for room.
    giver: Option<Waker>,
    /// Nobody takes items any more.
    abandoned: bool,
}

/// The caller's items, from the stream's task to the handler.
#[derive(Debug, Default)]
pub(crate) struct Inbound(Mutex<Coming>);

impl Inbound {
    /// One more item. It is kept whatever room there is.
    pub(crate) fn push(&self, item: &[u8], permit: Option<BytesPermit>) {
        let taker = {
            let mut coming = self.0.lock();
            if coming.abandoned {
                return;
            }
            coming.batch.bytes.extend_from_slice(item);
            let end = coming.batch.bytes.len();
            coming.batch.ends.push(end);
            coming.batch.permits.extend(permit);
            coming.taker.take()
        };
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    /// No more items come.
    pub(crate) fn end(&self, how: Result<(), RpcError>) {
        let taker = {
            let mut coming = self.0.lock();
            coming.end.get_or_insert(how);
            coming.taker.take()
        };
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    /// Ready once there is room for another item.
    pub(crate) fn poll_room(&self, cx: &TaskContext<'_>) -> Poll<()> {
        let mut coming = self.0.lock();
        if coming.abandoned || coming.batch.size() < STREAM_WINDOW {
            return Poll::Ready(());
        }
        coming.giver = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// What a caller streams to a method: an argument of the type `Streaming<T>`, one in a method at most.
///
/// It ends with `None` once the caller has said that all items are sent, and with one `Err` where the call was cut off before; after either it
/// gives `None`. Reading it slowly slows the caller down: at most 64 KiB of items wait here, beside one larger item
/// ([`Limits::max_message`](crate::Limits) bytes at the most). What comes after it was dropped is thrown away.
///
/// ```
/// use p2prpc::prelude::*;
///
/// #[p2p_service]
/// trait Sums {
///     async fn sum(&self, numbers: Streaming<u64>) -> Result<u64, String>;
/// }
///
/// struct Adder;
/// impl Sums for Adder {
///     async fn sum(&self, mut numbers: Streaming<u64>) -> Result<u64, String> {
///         let mut sum = 0;
///         while let Some(number) = numbers.next().await {
///             sum += number.map_err(|error| error.to_string())?;
///         }
///         Ok(sum)
///     }
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let sums = SumsClient::local(Adder).peer(PeerId::random());
/// assert_eq!(sums.sum(futures::stream::iter(1..=10)).await.unwrap(), 55);
/// # });
/// ```
pub struct Streaming<T> {
    inbound: Arc<Inbound>,
    format: Format,
    method: &'static MethodNames,
    batch: Batch,
    /// Items of the batch that were given.
    given: usize,
    /// Where the next one begins.
    at: usize,
    done: bool,
    of: PhantomData<fn() -> T>,
}

impl<T: Value> Streaming<T> {
    fn new(inbound: Arc<Inbound>, format: Format, method: &'static MethodNames) -> Self {
        let batch = Batch::default();
        Streaming { inbound, format, method, batch, given: 0, at: 0, done: false, of: PhantomData }
    }

    /// A stream of these items, for unit tests of handlers.
    ///
    /// ```
    /// use p2prpc::prelude::*;
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let lines: Streaming<String> = Streaming::for_tests(["one".to_string(), "two".to_string()]);
    /// assert_eq!(lines.count().await, 2);
    /// # });
    /// ```
    ///
    /// # Panics
    /// If one of them can't be encoded.
    pub fn for_tests(items: impl IntoIterator<Item = T>) -> Self {
        const METHOD: &MethodNames =
            &MethodNames { full: "Tests.Items", gorpc: None, gorpc_strict: false, key: 0, fingerprint: 0 };
        let (inbound, format) = (Arc::<Inbound>::default(), Format::Native(CodecId::default()));
        for item in items {
            let mut encoded = Vec::new();
            let written = format.encode(&Sent(&item), &mut encoded, usize::MAX);
            assert!(written.is_ok(), "an item of a test can't be encoded: {written:?}");
            inbound.push(&encoded, None);
        }
        inbound.end(Ok(()));
        Streaming::new(inbound, format, METHOD)
    }

    fn decode(&self, from: usize, to: usize) -> Result<T, RpcError> {
        let bytes = self.batch.bytes.get(from..to).unwrap_or_default();
        match caught(|| self.format.decode(self.method, bytes).map(|Received(item)| item)) {
            Some(Ok(item)) => Ok(item),
            Some(Err(error)) => Err(RpcError::answered(ErrorKind::BadArguments, &error).because(error)),
            None => Err(RpcError::answered(ErrorKind::BadArguments, "decoding an item panicked")),
        }
    }
}

impl<T: Value> Stream for Streaming<T> {
    type Item = Result<T, RpcError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.done {
                return Poll::Ready(None);
            }
            if let Some(end) = this.batch.ends.get(this.given).copied() {
                let item = this.decode(this.at, end);
                (this.given, this.at, this.done) = (this.given + 1, end, item.is_err());
                return Poll::Ready(Some(item));
            }
            let giver = {
                let mut coming = this.inbound.0.lock();
                if coming.batch.ends.is_empty() {
                    let Some(end) = coming.end.take() else {
                        coming.taker = Some(cx.waker().clone());
                        return Poll::Pending;
                    };
                    this.done = true;
                    return Poll::Ready(end.err().map(Err));
                }
                this.batch.clear();
                std::mem::swap(&mut this.batch, &mut coming.batch);
                coming.giver.take()
            };
            (this.given, this.at) = (0, 0);
            if let Some(giver) = giver {
                giver.wake();
            }
        }
    }
}

impl<T> Drop for Streaming<T> {
    fn drop(&mut self) {
        let giver = {
            let mut coming = self.inbound.0.lock();
            coming.abandoned = true;
            coming.batch.clear();
            coming.giver.take()
        };
        if let Some(giver) = giver {
            giver.wake();
        }
    }
}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").field("method", &self.method.full).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Going {
    id: u64,
    /// Whole frames.
    frames: Vec<u8>,
    items: u64,
    held: ReplyPermit,
    /// The handler, which waits for room.
    waiting: Option<Waker>,
}

/// The handler's items, as frames, from the handler to the stream's task.
#[derive(Debug)]
pub(crate) struct Outbound(Mutex<Going>);

impl Outbound {
    pub(crate) fn new(id: u64, account: &Arc<PeerAccount>) -> Self {
        Outbound(Mutex::new(Going { id, frames: Vec::new(), items: 0, held: account.replies(), waiting: None }))
    }

    fn id(&self) -> u64 {
        self.0.lock().id
    }

    /// So many items, in these frames, of which nothing is left.
    fn push(&self, frames: &mut Vec<u8>, items: u64) {
        if items == 0 {
            return;
        }
        let mut going = self.0.lock();
        going.held.add(frames.len());
        going.items += items;
        if going.frames.is_empty() {
            std::mem::swap(&mut going.frames, frames);
        } else {
            going.frames.extend_from_slice(frames);
        }
        drop(going);
        frames.clear();
        if frames.capacity() > KEPT {
            *frames = Vec::new();
        }
    }

    fn poll_room(&self, cx: &TaskContext<'_>) -> Poll<()> {
        let mut going = self.0.lock();
        if going.frames.len() < STREAM_WINDOW - TOGETHER {
            return Poll::Ready(());
        }
        going.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Append the frames that end the call. `end` is given the call's id and how many items were sent.
    pub(crate) fn end(&self, end: impl FnOnce(&mut Vec<u8>, u64, u64)) {
        let mut going = self.0.lock();
        let (id, items, before) = (going.id, going.items, going.frames.len());
        end(&mut going.frames, id, items);
        let added = going.frames.len() - before;
        going.held.add(added);
    }

    /// Put what there is into `frames`, which is empty, and what it holds of the account into `held`. False if there is nothing.
    pub(crate) fn take(&self, frames: &mut Vec<u8>, held: &mut ReplyPermit) -> bool {
        let waiting = {
            let mut going = self.0.lock();
            if going.frames.is_empty() {
                return false;
            }
            std::mem::swap(frames, &mut going.frames);
            held.absorb(&mut going.held);
            going.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        true
    }
}

/// Items that are handed over together: few locks for many small ones. What is left is handed over at the end, be it a panic.
struct Together<'a> {
    id: u64,
    outbound: &'a Outbound,
    frames: Vec<u8>,
    items: u64,
    /// Some were handed over since it was last seen that there is room.
    handed_over: bool,
}

impl Together<'_> {
    fn hand_over(&mut self) {
        self.handed_over |= self.items > 0;
        self.outbound.push(&mut self.frames, std::mem::take(&mut self.items));
    }
}

impl Drop for Together<'_> {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// Both directions of a streaming call, as its handler gets them.
#[derive(Clone, Debug)]
pub(crate) struct StreamParts {
    pub(crate) inbound: Arc<Inbound>,
    pub(crate) outbound: Arc<Outbound>,
}

/// Where the items of a handler of `M` go. Generated code uses it.
pub struct ItemSink<M: Method> {
    outbound: Arc<Outbound>,
    format: Format,
    max_item: usize,
    account: Option<Arc<PeerAccount>>,
    reply_metadata: Option<ReplyMetadata>,
    of: PhantomData<fn() -> M>,
}

impl<M: Method> ItemSink<M> {
    /// Send all that a stream gives, as fast as the caller takes it.
    pub async fn send_all(self, items: impl Stream<Item = M::Output>) -> Outcome {
        let mut items = pin!(items);
        let mut encoded = Vec::new();
        let (id, outbound) = (self.outbound.id(), &*self.outbound);
        let mut together = Together { id, outbound, frames: Vec::new(), items: 0, handed_over: false };
        loop {
            if together.frames.len() >= TOGETHER {
                together.hand_over();
            }
            if std::mem::take(&mut together.handed_over) {
                poll_fn(|cx| self.outbound.poll_room(cx)).await;
                if let Some(account) = self.account.as_deref().filter(|account| !account.has_reply_room())
                    && !Box::pin(account.reply_room(STREAM_WINDOW)).await
                {
                    return Outcome { reply: Reply::NoRoom, metadata: None };
                }
            }
            let next = poll_fn(|cx| {
                let next = items.as_mut().poll_next(cx);
                if next.is_pending() {
                    together.hand_over();
                }
                next
            });
            let Some(item) = next.await else {
                return Outcome { reply: Reply::End, metadata: self.reply_metadata.and_then(ReplyMetadata::take) };
            };
            encoded.clear();
            let written = caught(|| self.format.encode(&Sent(&item), &mut encoded, self.max_item));
            if let Some(failure) = encode_failure(written) {
                return Outcome { reply: failure, metadata: None };
            }
            wire::encode_items(&mut together.frames, together.id, &encoded);
            together.items += 1;
            if encoded.capacity() > KEPT {
                encoded = Vec::new();
            }
        }
    }

    /// The same with what a handler gives that may fail before the first item.
    pub async fn send_all_or_fail<S, E>(self, items: Result<S, E>) -> Outcome
    where
        S: Stream<Item = M::Output>,
        M::Error: Wraps<E>,
    {
        match items {
            Ok(items) => self.send_all(items).await,
            Err(error) => {
                let error = M::Error::wrap(error);
                let reply =
                    incoming::encoded(|out| error.encode_application(self.format, out, self.max_item), Reply::Error);
                Outcome { reply, metadata: self.reply_metadata.and_then(ReplyMetadata::take) }
            }
        }
    }
}

impl<M: Method> fmt::Debug for ItemSink<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemSink").field("method", &M::NAME).finish_non_exhaustive()
    }
}

/// What a call of a streaming method ends with that doesn't stream.
pub(crate) const NOT_STREAMED: &str = "the method streams, and the call does not";

impl incoming::Incoming<'_> {
    /// The items that the caller streams; `None` if it doesn't. Generated code asks for them.
    pub fn items<M: Method, T: Value>(&self) -> Option<Streaming<T>> {
        let parts = self.stream.as_ref()?;
        Some(Streaming::new(parts.inbound.clone(), self.format, MethodNames::of::<M>()))
    }

    /// Where the handler's items go; `None` if the caller doesn't stream. Generated code asks for it.
    pub fn sink<M: Method>(&self) -> Option<ItemSink<M>> {
        let parts = self.stream.as_ref()?;
        Some(ItemSink {
            outbound: parts.outbound.clone(),
            format: self.format,
            max_item: self.max_reply,
            account: self.account.clone(),
            reply_metadata: M::TAKES_CONTEXT.then(|| self.cx.reply_metadata()),
            of: PhantomData,
        })
    }

    /// What becomes of the call if it doesn't stream.
    pub fn not_streamed(self) -> incoming::HandlerFuture {
        Box::pin(std::future::ready(Outcome::failed(ErrorKind::BadArguments, NOT_STREAMED)))
    }
}
