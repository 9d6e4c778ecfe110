//! A call at a Go peer, on a substream of its own.
//!
//! As gorpc's `client.go`: the names and the arguments go out together, and our half stays open until the reply is there, since a Go
//! server takes its end for a cancellation. Unlike there the reply is read while the arguments are still being written: a server that refuses
//! them doesn't read them.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt};
use libp2p::core::upgrade::NegotiationError;

use super::reader::{Reading, Unread};
use crate::call::{RawReply, RawResult};
use crate::error::{ErrorKind, RpcError};
use crate::wire::gorpc::header::{MAX_RESPONSE, Response, ServiceId, error_type};
use crate::wire::gorpc::scan::Hopeless;

/// Arguments up to this size are copied behind the names, to go out with them.
const TOGETHER: usize = 16 * 1024;
/// What can be read is read for so long after nothing could be written any more.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What to call, with the arguments encoded.
#[derive(Debug)]
pub(crate) struct GoCall {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    pub(crate) args: Bytes,
    /// The most bytes of the reply's value.
    pub(crate) max_reply: usize,
}

/// Makes the call. Dropped before it ends, it resets the substream, and the handler there is cancelled.
pub(crate) async fn call<S>(io: S, call: GoCall) -> RawResult
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, mut writer) = io.split();
    let mut request = Vec::new();
    let names = ServiceId { name: call.service.into(), method: call.method.into() };
    names.encode(&mut request).map_err(|error| RpcError::never_sent(ErrorKind::InvalidRequest, error))?;
    let reply = {
        let read = pin!(read_reply(reader, call.max_reply));
        let write = pin!(write_request(&mut writer, request, call.args));
        match select(read, write).await {
            Either::Left((reply, _)) => reply,
            Either::Right((Ok(()), read)) => read.await,
            Either::Right((Err(error), read)) => match tokio::time::timeout(LAST_WORDS, read).await {
                Ok(reply) => reply,
                Err(_) => Err(lost(&error)),
            },
        }
    };
    if reply.is_ok() {
        // It ends our half, as a Go client does. If it can't at once, the substream is reset, and nobody minds.
        let _ = writer.close().now_or_never();
    }
    reply
}

async fn write_request(writer: &mut (impl AsyncWrite + Unpin), mut names: Vec<u8>, args: Bytes) -> io::Result<()> {
    if args.len() <= TOGETHER {
        names.extend_from_slice(&args);
        writer.write_all(&names).await?;
    } else {
        writer.write_all(&names).await?;
        writer.write_all(&args).await?;
    }
    writer.flush().await
}

async fn read_reply(reader: impl AsyncRead + Unpin, max_reply: usize) -> RawResult {
    let mut reading = Reading::new(reader, Duration::MAX);
    let header = reading.value(MAX_RESPONSE, |_| true).await.map_err(|unread| match unread {
        Unread::Ended { within: false } => {
            RpcError::may_have_run(ErrorKind::ConnectionLost, "the peer ended the call without an answer")
        }
        other => unreadable(other, MAX_RESPONSE),
    })?;
    let bad = |error| RpcError::answered(ErrorKind::BadReply, error);
    let Response { error, err_type, .. } = Response::decode(&header).map_err(bad)?;
    if !error.is_empty() {
        return failed(error, err_type);
    }
    let value = reading.value(max_reply, |_| true).await;
    value.map(RawReply::Value).map_err(|unread| unreadable(unread, max_reply))
}

/// What the peer says of its failure.
fn failed(error: String, err_type: i64) -> RawResult {
    Err(match err_type {
        error_type::SERVER if error.starts_with("rpc: can't find ") => {
            RpcError::never_sent(ErrorKind::NotServed, error)
        }
        error_type::SERVER if error.starts_with("msgpack decode error") => {
            RpcError::never_sent(ErrorKind::BadArguments, error)
        }
        error_type::AUTHORIZATION => RpcError::never_sent(ErrorKind::NotServed, error),
        error_type::SERVER | error_type::CLIENT => RpcError::answered(ErrorKind::Internal, error),
        _ => return Ok(RawReply::Error(error.into())),
    })
}

fn unreadable(unread: Unread, limit: usize) -> RpcError {
    match unread {
        Unread::Ended { .. } | Unread::Silent => RpcError::answered(ErrorKind::BadReply, "it ended too soon"),
        Unread::Hopeless(Hopeless::TooLarge) | Unread::NoRoom => RpcError::answered(
            ErrorKind::TooLarge,
            format_args!("the reply is larger than {limit} bytes (Limits::max_message)"),
        ),
        Unread::Hopeless(Hopeless::NotAValue) => RpcError::answered(ErrorKind::BadReply, "it is not MessagePack"),
        Unread::Io(error) => lost(&error),
    }
}

fn lost(error: &io::Error) -> RpcError {
    let refused = error
        .get_ref()
        .is_some_and(|inner| matches!(inner.downcast_ref::<NegotiationError>(), Some(NegotiationError::Failed)));
    if refused {
        RpcError::never_sent(ErrorKind::NotSupported, "")
    } else {
        RpcError::may_have_run(ErrorKind::ConnectionLost, error)
    }
}
