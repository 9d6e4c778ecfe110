//! What goes out of a streaming call, at the end that made it: a task writes it, so that the end is said however the sender goes.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::{Either, select};
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;

use super::opening::Prepared;
use crate::call::{Channel, Duplex, OpenedStream, Opening};
use crate::codec::{CodecError, CodecId, Format};
use crate::error::{ErrorKind, RpcError};
use crate::limits::MESSAGE_LIMIT;
use crate::panics::caught;
use crate::service::{STREAM_WINDOW, Sent, Value};
use crate::sync::Mutex;
use crate::wire::{self, MetadataRef};

#[derive(Debug)]
struct Going {
    /// The call's, once the request is written.
    id: Option<u64>,
    frames: Vec<u8>,
    items: u64,
    /// No more items come.
    ended: bool,
    /// Why nothing more is sent.
    over: Option<RpcError>,
    sender: Option<Waker>,
    task: Option<Waker>,
}

/// Items on their way to the task that writes them.
#[derive(Debug)]
pub(super) struct Outgoing(Mutex<Going>);

/// What the task is to do next.
enum Next {
    Write(Vec<u8>),
    /// Say that so many items were all.
    End(u64),
    Stop,
}

impl Outgoing {
    fn new() -> Arc<Self> {
        let (id, frames, items, ended, over, sender, task) = Default::default();
        Arc::new(Outgoing(Mutex::new(Going { id, frames, items, ended, over, sender, task })))
    }

    /// The call is over, or can't be made: the sender hears why.
    fn stop(&self, why: RpcError) {
        let wakers = {
            let mut going = self.0.lock();
            going.over.get_or_insert(why);
            [going.sender.take(), going.task.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn begin(&self, id: u64) {
        let sender = {
            let mut going = self.0.lock();
            going.id = Some(id);
            going.sender.take()
        };
        if let Some(sender) = sender {
            sender.wake();
        }
    }

    /// Ready once there is room for an item.
    fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), RpcError>> {
        let mut going = self.0.lock();
        if let Some(error) = &going.over {
            return Poll::Ready(Err(error.clone()));
        }
        if going.id.is_some() && going.frames.len() < STREAM_WINDOW {
            return Poll::Ready(Ok(()));
        }
        going.sender = Some(cx.waker().clone());
        Poll::Pending
    }

    fn push(&self, item: &[u8]) {
        let task = {
            let mut going = self.0.lock();
            let Some(id) = going.id else { return };
            wire::encode_items(&mut going.frames, id, item);
            going.items = going.items.saturating_add(1);
            going.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    fn end(&self) {
        let task = {
            let mut going = self.0.lock();
            going.ended = true;
            going.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// What was written goes back into use.
    fn poll_next(&self, cx: &Context<'_>, written: &mut Vec<u8>) -> Poll<Next> {
        let (next, sender) = {
            let mut going = self.0.lock();
            if going.over.is_some() {
                return Poll::Ready(Next::Stop);
            }
            if going.frames.is_empty() {
                if going.ended {
                    return Poll::Ready(Next::End(going.items));
                }
                going.task = Some(cx.waker().clone());
                return Poll::Pending;
            }
            written.clear();
            let fresh = if written.capacity() > 4 * STREAM_WINDOW { Vec::new() } else { std::mem::take(written) };
            (std::mem::replace(&mut going.frames, fresh), going.sender.take())
        };
        if let Some(sender) = sender {
            sender.wake();
        }
        Poll::Ready(Next::Write(next))
    }

    /// Ready when nothing more is to be sent.
    fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        let mut going = self.0.lock();
        if going.over.is_some() {
            return Poll::Ready(());
        }
        going.task = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Sends items to the peer that a call of a streaming method was made to. Dropping it says that these were all.
///
/// ```no_run
/// # use p2prpc::prelude::*;
/// # #[p2p_service] trait Chat { async fn chat(&self, lines: Streaming<String>) -> impl Stream<Item = String>; }
/// # async fn doc(node: &Node, peer: PeerId) -> Result<(), RpcError> {
/// let (mut lines, mut answers) = ChatClient::new(node).peer(peer).chat().into_split();
/// lines.send("hello".into()).await?;
/// drop(lines);
/// while let Some(answer) = answers.next().await {
///     println!("{}", answer?);
/// }
/// # Ok(()) }
/// ```
pub struct StreamSender<T> {
    outgoing: Arc<Outgoing>,
    format: Format,
    max_item: usize,
    of: PhantomData<fn(T)>,
}

impl<T: Value> StreamSender<T> {
    /// Waits until there is room for one more item, and hands it over: 64 KiB wait here at the most, beside the item that goes past it. A
    /// task of the node writes them in their order. What is sent may still be lost with the connection: the call's answer tells.
    ///
    /// If the future is dropped before it is ready the item isn't sent.
    ///
    /// # Errors
    /// If the call is over, or could not be made: the answer says why. And if the item can't be encoded or is larger than
    /// [`Limits::max_message`](crate::Limits); the call goes on then.
    pub async fn send(&mut self, item: T) -> Result<(), RpcError> {
        let mut encoded = Vec::new();
        match caught(|| self.format.encode(&Sent(&item), &mut encoded, self.max_item)) {
            Some(Ok(())) => {}
            Some(Err(CodecError::TooLarge { limit })) => {
                let detail = format!("the item is larger than {limit} bytes ({MESSAGE_LIMIT})");
                return Err(RpcError::never_sent(ErrorKind::TooLarge, detail));
            }
            Some(Err(error)) => {
                return Err(RpcError::never_sent(ErrorKind::InvalidRequest, &error).because(error));
            }
            None => return Err(RpcError::never_sent(ErrorKind::InvalidRequest, "encoding the item panicked")),
        }
        caught(move || drop(item));
        poll_fn(|cx| self.outgoing.poll_room(cx)).await?;
        self.outgoing.push(&encoded);
        Ok(())
    }
}

impl<T> StreamSender<T> {
    /// Say that these were all items, as dropping it does.
    pub fn finish(self) {}

    /// Nothing more is sent, not even the end.
    pub(super) fn stop(&self, why: RpcError) {
        self.outgoing.stop(why);
    }

    /// True once the call is over, or could not be made.
    pub(super) fn is_over(&self) -> bool {
        self.outgoing.0.lock().over.is_some()
    }

    /// One of a call that is over, or could not be made.
    pub(super) fn over(why: RpcError) -> Self {
        let outgoing = Outgoing::new();
        outgoing.stop(why);
        StreamSender { outgoing, format: Format::Native(CodecId::default()), max_item: 0, of: PhantomData }
    }
}

impl<T> Drop for StreamSender<T> {
    fn drop(&mut self) {
        self.outgoing.end();
    }
}

impl<T> fmt::Debug for StreamSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSender").field("items", &self.outgoing.0.lock().items).finish_non_exhaustive()
    }
}

/// Ends the sending when whoever waits for the answer is gone, or has it.
pub(super) struct StopOnDrop(Arc<Outgoing>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop(RpcError::may_have_run(ErrorKind::Cancelled, "the call is over"));
    }
}

/// Make a call whose items come from the sender, in a task of the node. What it gives is a substream to read from.
pub(super) fn start<T>(
    channel: &Arc<dyn Channel>,
    prepared: Prepared,
    codec: CodecId,
) -> (StreamSender<T>, Opening, StopOnDrop) {
    let outgoing = Outgoing::new();
    let (give, opened) = oneshot::channel();
    let max_item = prepared.max_message;
    if !channel.spawn(Box::pin(drive(prepared, outgoing.clone(), give))) {
        let error = RpcError::never_sent(ErrorKind::InvalidRequest, "there is no Tokio runtime to send items on");
        outgoing.stop(error);
    }
    let sender = StreamSender { outgoing: outgoing.clone(), format: Format::Native(codec), max_item, of: PhantomData };
    let over = outgoing.clone();
    let opening: Opening = Box::pin(async move {
        opened.await.unwrap_or_else(|_| {
            let why = over.0.lock().over.clone();
            Err(why.unwrap_or_else(|| RpcError::may_have_run(ErrorKind::Closed, "the call ended with the node")))
        })
    });
    (sender, opening, StopOnDrop(outgoing))
}

async fn drive(prepared: Prepared, outgoing: Arc<Outgoing>, give: oneshot::Sender<Result<OpenedStream, RpcError>>) {
    let begin = pin!(prepared.begin(false));
    let opened = match select(begin, poll_fn(|cx| outgoing.poll_over(cx))).await {
        Either::Left((opened, _)) => opened,
        Either::Right(_) => return,
    };
    let mut stream = match opened {
        Ok(stream) => stream,
        Err(error) => {
            outgoing.stop(error.clone());
            let _ = give.send(Err(error));
            return;
        }
    };
    let (id, lost) = (stream.last_id, stream.lost.clone());
    let nothing: Box<dyn Duplex> = Box::new(futures::io::Cursor::new(Vec::new()));
    let (reader, mut writer) = std::mem::replace(&mut stream.io, nothing).split();
    stream.io = Box::new(ReadOnly(reader));
    stream.home = None;
    if give.send(Ok(stream)).is_err() {
        return;
    }
    outgoing.begin(id);
    let (write, lost) = (pin!(write_all(&outgoing, id, &mut writer)), pin!(lost.cancelled()));
    let error = match select(write, lost).await {
        Either::Left((Ok(()), _)) => return,
        Either::Left((Err(error), _)) => RpcError::may_have_run(ErrorKind::ConnectionLost, &error).because(error),
        Either::Right(_) => RpcError::may_have_run(ErrorKind::ConnectionLost, ""),
    };
    outgoing.stop(error);
}

/// Until all is written, or nothing more is to be.
async fn write_all(outgoing: &Outgoing, id: u64, io: &mut WriteHalf<Box<dyn Duplex>>) -> io::Result<()> {
    let mut frames = Vec::new();
    loop {
        match poll_fn(|cx| outgoing.poll_next(cx, &mut frames)).await {
            Next::Write(next) => {
                frames = next;
                // Whoever has the answer, or waits for it no more, ends this too.
                let write = pin!(async {
                    io.write_all(&frames).await?;
                    io.flush().await
                });
                match select(write, poll_fn(|cx| outgoing.poll_over(cx))).await {
                    Either::Left((written, _)) => written?,
                    Either::Right(_) => return Ok(()),
                }
            }
            Next::End(items) => {
                let mut end = Vec::new();
                // The id is at least 1.
                let _ = wire::encode_end(&mut end, &wire::End { id, items, metadata: MetadataRef::EMPTY });
                io.write_all(&end).await?;
                return io.flush().await;
            }
            Next::Stop => return Ok(()),
        }
    }
}

/// The half that is read from. The other one is the task's.
struct ReadOnly(ReadHalf<Box<dyn Duplex>>);

impl AsyncRead for ReadOnly {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ReadOnly {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
