//! From arguments to a substream with the request on it.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::AsyncWriteExt;
use futures::future::{Either, select};
use libp2p::PeerId;

use super::earlier;
use crate::call::{CallHead, Channel, Encoded, Found, Network, OpenedStream, Payload, Route, not_named};
use crate::client::CallOptions;
use crate::client::call::{Arguments, deadline_of, encode_args, max_request};
use crate::clock::{self, by};
use crate::codec::{Format, MethodNames};
use crate::error::{ErrorKind, RpcError};
use crate::metadata::Metadata;
use crate::service::Method;
use crate::wire::{self, MAX_CHUNK, MetadataRef};

/// A call that has not been made.
pub(super) struct Start<M: Method> {
    route: Route,
    own: Option<Arc<dyn Network>>,
    args: Arguments<M>,
    pub(super) options: CallOptions,
    /// Of the whole stream.
    pub(super) timeout: Option<Duration>,
}

/// All that it takes to make it.
pub(super) struct Prepared {
    pub(super) channel: Arc<dyn Channel>,
    pub(super) head: CallHead,
    metadata: Metadata,
    body: Bytes,
    /// Of the whole stream; the head's is that of the opening.
    pub(super) deadline: Option<Instant>,
    /// The largest body that is sent.
    pub(super) max_message: usize,
    pub(super) own: Option<Arc<dyn Network>>,
}

impl<M: Method> Start<M> {
    pub(super) fn new(route: Route, own: Option<Arc<dyn Network>>, args: Arguments<M>, options: CallOptions) -> Self {
        Start { route, own, args, options, timeout: None }
    }

    pub(super) fn prepare(self, peer: PeerId) -> Result<Prepared, RpcError> {
        let Start { route, own, args, options, timeout } = self;
        if let Some(error) = options.invalid {
            return Err(RpcError::never_sent(ErrorKind::InvalidRequest, &error).because(error));
        }
        let Found { channel, defaults, deadline: inherited } = route.resolve(peer)?;
        let deadline = earlier(timeout.map(clock::after), inherited);
        let opening = deadline_of(deadline, options.timeout.or(M::TIMEOUT).unwrap_or(defaults.timeout));
        let head = CallHead {
            method: MethodNames::of::<M>(),
            codec: options.codec.unwrap_or(defaults.codec),
            deadline: opening,
            again: false,
            nested: inherited.is_some(),
        };
        channel.check(&head)?;
        let channel = options.layers.layer(channel);
        let max_message = defaults.max_message;
        let body = match args {
            Arguments::Plain(args) => {
                let most = max_request::<M>(max_message);
                encode_args(Format::Native(head.codec), args, most)?.into_bytes()
            }
            Arguments::Encoded(encoded) => natively(&encoded)?,
        };
        Ok(Prepared { channel, head, metadata: options.metadata, body, deadline, max_message, own })
    }
}

fn natively(encoded: &Encoded) -> Result<Bytes, RpcError> {
    if encoded.native.is_none() {
        return Err(not_named());
    }
    let payload = Payload::Encoded(encoded);
    payload.natively().map(|bytes| payload.keep(bytes))
}

impl Prepared {
    /// A substream on which the request is written. `ended`: the caller streams nothing.
    pub(super) async fn begin(self, ended: bool) -> Result<OpenedStream, RpcError> {
        let Prepared { channel, head, metadata, body, deadline, .. } = self;
        let mut stream = channel.open_stream(&head).await?;
        stream.last_id = stream.last_id.saturating_add(1);
        let mut out = Vec::new();
        if !std::mem::replace(&mut stream.greeted, true) {
            out.extend_from_slice(&stream.hello);
        }
        let request = Request { id: stream.last_id, head: &head, metadata: &metadata, body: &body, deadline };
        if let Err(error) = request.write(&mut out, ended) {
            return Err(RpcError::never_sent(ErrorKind::InvalidRequest, error));
        }
        let lost = stream.lost.clone();
        let written = {
            let write = async {
                stream.io.write_all(&out).await?;
                stream.io.flush().await
            };
            let (write, lost) = (pin!(write), pin!(lost.cancelled()));
            by(head.deadline, select(write, lost)).await.map(|written| match written {
                Either::Left((written, _)) => Some(written),
                Either::Right(_) => None,
            })
        };
        match written {
            Some(Some(Ok(()))) => Ok(stream),
            Some(Some(Err(error))) => Err(RpcError::may_have_run(ErrorKind::ConnectionLost, &error).because(error)),
            Some(None) => Err(RpcError::may_have_run(ErrorKind::ConnectionLost, "")),
            None => {
                let detail = "the peer did not take the request in time";
                Err(RpcError::may_have_run(ErrorKind::DeadlineExceeded, detail))
            }
        }
    }
}

/// What is written of a request.
struct Request<'a> {
    id: u64,
    head: &'a CallHead,
    metadata: &'a Metadata,
    body: &'a [u8],
    deadline: Option<Instant>,
}

impl Request<'_> {
    fn write(&self, out: &mut Vec<u8>, ended: bool) -> Result<(), wire::WireError> {
        let metadata = self.metadata.to_wire();
        let (chunk, rest) = self.body.split_at_checked(MAX_CHUNK).unwrap_or((self.body, &[]));
        let request = wire::Request {
            id: self.id,
            method: self.head.method.full,
            codec: self.head.codec.get().into(),
            deadline: self.deadline.map(|deadline| deadline.saturating_duration_since(clock::now())),
            metadata: metadata.view(),
            body_len: self.body.len() as u64,
            chunk,
        };
        wire::encode_request(out, &request)?;
        rest.chunks(MAX_CHUNK).try_for_each(|chunk| wire::encode_body(out, self.id, chunk))?;
        if ended {
            wire::encode_end(out, &wire::End { id: self.id, items: 0, metadata: MetadataRef::EMPTY })?;
        }
        Ok(())
    }
}
