//! What comes of a streaming call, at the end that made it.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::call::OpenedStream;
use crate::codec::{CodecId, Format, MethodNames};
use crate::error::sealed::FromReply;
use crate::error::{ErrorKind, RpcError};
use crate::framing::{Message, Unreadable, error_of, failed_by_go_away};
use crate::metadata::Metadata;
use crate::panics::caught;
use crate::service::{Method, Received};
use crate::wire::{self, ErrorCode, Frame, MetadataRef};

/// Frames without a use that the peer may send in one call.
const MAX_USELESS: usize = 10_000;

pub(super) struct Receiving<M: Method> {
    stream: OpenedStream,
    lost: Pin<Box<WaitForCancellationFutureOwned>>,
    format: Format,
    /// Of what we send no more comes.
    complete: bool,
    items: u64,
    useless: usize,
    metadata: Option<Box<Metadata>>,
    of: PhantomData<fn() -> M>,
}

/// What the peer has told.
pub(super) enum Told<M: Method> {
    Item(M::Output),
    /// All items have come.
    End,
    /// The answer of a method that gives no stream.
    Value(M::Output),
    /// The handler's own error.
    Failed(M::Error),
}

impl<M: Method> Receiving<M> {
    pub(super) fn new(stream: OpenedStream, codec: CodecId, complete: bool) -> Self {
        let lost = Box::pin(stream.lost.clone().cancelled_owned());
        let (format, items, useless, metadata, of) = (Format::Native(codec), 0, 0, None, PhantomData);
        Receiving { stream, lost, format, complete, items, useless, metadata, of }
    }

    /// The call is over. Gives what came along with its end.
    pub(super) fn finish(self) -> Option<Box<Metadata>> {
        if self.complete {
            self.stream.give_back();
        }
        self.metadata
    }

    fn broken(&self, detail: impl std::fmt::Display) -> RpcError {
        let detail = format!("{detail}, after {} items", self.items);
        RpcError::may_have_run(ErrorKind::ConnectionLost, detail)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Told<M>, RpcError>> {
        loop {
            match self.next() {
                Ok(Some(told)) => return Poll::Ready(Ok(told)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let error = match self.stream.messages.poll_fill(cx, &mut self.stream.io) {
                Poll::Ready(Ok(1..)) => continue,
                Poll::Ready(Ok(_)) => self.broken("the peer ended the stream"),
                Poll::Ready(Err(error)) => self.broken(&error).because(error),
                Poll::Pending if self.lost.as_mut().poll(cx).is_pending() => return Poll::Pending,
                Poll::Pending => self.broken("its connection ended"),
            };
            return Poll::Ready(Err(error));
        }
    }

    /// What has come, if it is whole.
    fn next(&mut self) -> Result<Option<Told<M>>, RpcError> {
        let (id, items) = (self.stream.last_id, self.items);
        loop {
            let message = match self.stream.messages.next(self.stream.max_message) {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(None),
                Err(error @ Unreadable::TooLarge(..)) => {
                    return Err(RpcError::answered(ErrorKind::TooLarge, format_args!("{error}, after {items} items")));
                }
                Err(error) => return Err(self.broken(format_args!("the peer broke the protocol: {error}"))),
            };
            let Message { frame, body } = message;
            match frame {
                Frame::Hello(_) if !self.stream.was_greeted => self.stream.was_greeted = true,
                Frame::Item(item) if item.id == id => {
                    self.items = items.saturating_add(1);
                    return decoded(self.format, body, items).map(Told::Item).map(Some);
                }
                Frame::Response(reply) if reply.id == id => {
                    self.metadata = metadata_of(reply.metadata);
                    return decoded(self.format, body, items).map(Told::Value).map(Some);
                }
                Frame::End(end) if end.id == id => {
                    if end.items != items {
                        let detail = format!("{} items were sent", end.items);
                        return Err(self.broken(detail));
                    }
                    self.metadata = metadata_of(end.metadata);
                    return Ok(Some(Told::End));
                }
                Frame::Error(error) if error.id == id => {
                    if error.code != ErrorCode::Application {
                        return Err(error_of(&error));
                    }
                    self.metadata = metadata_of(error.metadata);
                    let error = caught(|| M::Error::from_application(self.format, body));
                    let unread = || Err(RpcError::answered(ErrorKind::BadReply, "decoding the error panicked"));
                    return error.unwrap_or_else(unread).map(Told::Failed).map(Some);
                }
                // The peer has not taken the call.
                Frame::GoAway { last_call_id, reason, message } if last_call_id < id => {
                    return Err(failed_by_go_away(reason, message));
                }
                Frame::GoAway { reason: wire::GoAwayReason::ProtocolError, message, .. } => {
                    let detail = format!("the peer says that we broke the protocol: {message}");
                    return Err(self.broken(detail));
                }
                Frame::GoAway { .. } | Frame::Unknown { .. } if self.useless < MAX_USELESS => {
                    self.useless = self.useless.saturating_add(1);
                }
                _ => return Err(self.broken("the peer broke the protocol: a frame came that has no place there")),
            }
        }
    }
}

fn decoded<V: crate::service::Value>(format: Format, body: &[u8], items: u64) -> Result<V, RpcError> {
    const ANY: &MethodNames = &MethodNames { full: "", gorpc: None, gorpc_strict: false, key: 0, fingerprint: 0 };
    match caught(|| format.decode(ANY, body).map(|Received(value)| value)) {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => {
            let detail = format!("{error}, after {items} items");
            Err(RpcError::answered(ErrorKind::BadReply, detail).because(error))
        }
        None => Err(RpcError::answered(ErrorKind::BadReply, "decoding an item panicked")),
    }
}

fn metadata_of(metadata: MetadataRef<'_>) -> Option<Box<Metadata>> {
    let metadata = Metadata::from_checked(metadata.iter());
    (!metadata.is_empty()).then(|| Box::new(metadata))
}
