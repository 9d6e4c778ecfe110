//! What comes on a call stream of ours, until it is handed to those who wait for it.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;

use super::client::ClientStream;
use crate::call::{Answer, RawReply};
use crate::error::{ErrorKind, RpcError};
use crate::framing::{error_of, failed_by_go_away};
use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::peer::mux::reassembly::Reassembly;
use crate::peer::mux::useless::{USELESS, Useless};
use crate::peer::now;
use crate::peer::session_config::SessionConfig;
use crate::wire::{ErrorCode, ErrorReply, Frame, Hello, Reply};

/// What came and is not yet handed to callers.
pub(crate) struct Replies {
    config: Arc<SessionConfig>,
    pub(crate) stream: Arc<ClientStream>,
    pub(crate) last_id: u64,
    pub(crate) partials: HashMap<u64, Reassembly<Coming>>,
    partial_bytes: usize,
    pub(crate) done: Vec<(u64, Answer)>,
    pub(crate) hello: Option<Hello>,
    pub(crate) greeted: bool,
    pub(crate) go_away: Option<(u64, RpcError)>,
    useless: Useless,
}

/// A reply whose body is still coming in.
pub(crate) struct Coming {
    kind: Kind,
    metadata: Option<Box<Metadata>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Response,
    Application,
}

impl Coming {
    fn with(self, body: Bytes) -> Answer {
        let reply = match self.kind {
            Kind::Response => RawReply::Value(body),
            Kind::Application => RawReply::Error(body),
        };
        Answer { result: Ok(reply), metadata: self.metadata, gorpc: None }
    }
}

impl Replies {
    pub(crate) fn new(config: Arc<SessionConfig>, stream: Arc<ClientStream>) -> Self {
        Replies {
            config,
            stream,
            last_id: 0,
            partials: HashMap::new(),
            partial_bytes: 0,
            done: Vec::new(),
            hello: None,
            greeted: false,
            go_away: None,
            useless: Useless::new(0, now()),
        }
    }

    /// A frame came, of whose chunk so much is still to come. An error names the rule that it breaks.
    pub(crate) fn take(&mut self, frame: Frame<'_>, rest: usize) -> Result<(), String> {
        if !self.greeted {
            let Frame::Hello(hello) = frame else { return Err("the first frame is not a hello".into()) };
            self.greeted = true;
            self.hello = Some(hello);
            return Ok(());
        }
        match frame {
            Frame::Response(reply) => self.reply(Kind::Response, reply),
            Frame::Error(ErrorReply { code: ErrorCode::Application, id, metadata, body_len, chunk, .. }) => {
                self.reply(Kind::Application, Reply { id, metadata, body_len, chunk })
            }
            Frame::Error(reply) => {
                self.first_answer(reply.id)?;
                let answer = Answer {
                    result: Err(error_of(&reply)),
                    metadata: Metadata::of_answer(reply.metadata),
                    gorpc: None,
                };
                self.done.push((reply.id, answer));
                Ok(())
            }
            Frame::Body { id, chunk } => self.body(id, chunk, rest),
            Frame::GoAway { last_call_id, reason, message } => {
                self.go_away = Some((last_call_id, failed_by_go_away(reason, message)));
                Ok(())
            }
            Frame::Hello(_) => Err("a second hello came".into()),
            Frame::Request(_) | Frame::Cancel { .. } => Err("a request came from the end that answers".into()),
            Frame::Item(_) | Frame::End(_) => Err("an item came on a call stream".into()),
            Frame::Unknown { fields, .. } if self.useless.frame(fields.len(), now()) => Ok(()),
            Frame::Unknown { .. } => Err(USELESS.into()),
        }
    }

    fn failed(&mut self, id: u64, error: RpcError) {
        self.done.push((id, Err(error).into()));
    }

    fn issued(&self, id: u64) -> Result<(), String> {
        if id > self.last_id { Err("a reply came for a call that was never made".into()) } else { Ok(()) }
    }

    fn first_answer(&self, id: u64) -> Result<(), String> {
        self.issued(id)?;
        if self.partials.contains_key(&id) { Err("a second reply came for a call".into()) } else { Ok(()) }
    }

    fn reply(&mut self, kind: Kind, reply: Reply<'_>) -> Result<(), String> {
        let Reply { id, metadata, body_len, chunk } = reply;
        self.first_answer(id)?;
        let len = usize::try_from(body_len).unwrap_or(usize::MAX);
        let Limits { max_message, max_bytes_per_peer, .. } = self.config.limits;
        if len > max_message {
            let detail = format!("the reply has {body_len} bytes, Limits::max_message is {max_message}");
            self.failed(id, RpcError::answered(ErrorKind::TooLarge, detail));
        } else if chunk.len() == len {
            let coming = Coming { kind, metadata: Metadata::of_answer(metadata) };
            self.done.push((id, coming.with(Bytes::copy_from_slice(chunk))));
        } else if !self.stream.awaits(id) {
            // Nobody waits for it any more, and nothing of it is kept.
        } else if self.partial_bytes.saturating_add(len) > max_bytes_per_peer.max(len) {
            let detail = format!("the peer sent more than {max_bytes_per_peer} bytes of replies at once");
            self.failed(id, RpcError::answered(ErrorKind::Overloaded, detail));
        } else if !self.config.receive(chunk.len()) {
            self.config.let_go(chunk.len());
            self.failed(id, self.too_much());
        } else {
            self.partial_bytes = self.partial_bytes.saturating_add(len);
            let coming = Coming { kind, metadata: Metadata::of_answer(metadata) };
            self.partials.insert(id, Reassembly::new(coming, len, chunk, now()));
        }
        Ok(())
    }

    fn body(&mut self, id: u64, chunk: &[u8], rest: usize) -> Result<(), String> {
        self.issued(id)?;
        // The rest of a body that nobody waits for any more is let go by.
        let Some(partial) = self.partials.get_mut(&id) else { return Ok(()) };
        let whole = partial.push(chunk, rest, now()).ok_or("a body is longer than announced")?;
        self.received(id, chunk.len(), whole);
        Ok(())
    }

    /// So many bytes of a body have been put where it is collected.
    pub(crate) fn received(&mut self, id: u64, bytes: usize, whole: bool) {
        let fits = self.config.receive(bytes);
        if (whole || !fits)
            && let Some(partial) = self.forget(id)
        {
            let answer = if fits {
                let (coming, body) = partial.into_parts();
                coming.with(body)
            } else {
                Err(self.too_much()).into()
            };
            self.done.push((id, answer));
        }
    }

    pub(crate) fn forget(&mut self, id: u64) -> Option<Reassembly<Coming>> {
        let partial = self.partials.remove(&id)?;
        self.partial_bytes = self.partial_bytes.saturating_sub(partial.announced());
        self.config.let_go(partial.received());
        Some(partial)
    }

    fn too_much(&self) -> RpcError {
        let detail = format!("all peers together sent more than {} bytes at once", self.config.limits.max_bytes);
        RpcError::answered(ErrorKind::Overloaded, detail)
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        let received = self.partials.values().map(Reassembly::received).sum();
        self.config.let_go(received);
    }
}
