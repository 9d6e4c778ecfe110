//! A call of a Go peer, on a substream of its own.
//!
//! As gorpc's `server.go`, with bounds: a call that isn't whole in time, or larger than it may be, is refused; and who is refused is
//! heard out within a bound, because a Go caller reads no answer before its arguments are written.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use tokio::time::timeout;

use super::reader::{Reading, Unread};
use crate::accounts::{BytesPermit, PeerAccount};
use crate::clock::now;
use crate::codec::Format;
use crate::codec::gorpc::Gorpc;
use crate::error::ErrorKind;
use crate::metadata::Metadata;
use crate::server::{Admitted, Arriving, LARGE_BODY, Refusal, Server};
use crate::service::{NO_ROOM, NOT_STREAMED, Reply};
use crate::wire::gorpc::header::{MAX_SERVICE_ID, Response, ServiceId, error_type};
use crate::wire::gorpc::scan::Hopeless;

/// A caller that sends nothing for so long while its request isn't whole is refused.
const SILENCE: Duration = Duration::from_secs(10);
/// A request takes no longer than this.
const REQUEST: Duration = Duration::from_secs(120);
/// An answer is written for no longer than this.
const ANSWER: Duration = Duration::from_secs(60);
/// A caller that was refused or answered is heard out for so long, and for so many bytes beyond what it may send.
const FAREWELL: Duration = Duration::from_secs(10);
const FAREWELL_BYTES: usize = 16 << 20;
/// What may come behind the arguments: more than one argument, from a Go peer that takes the method for one of streams.
const STRAY_BYTES: usize = 1 << 20;
/// Room for the bytes of a request is taken in steps of this size.
const ROOM_STEP: usize = 64 * 1024;

/// An answer's value up to this size is copied behind its header, to go out with it.
const TOGETHER: usize = 16 * 1024;
/// The text of an error is cut to so many bytes.
const MAX_ERROR: usize = 64 * 1024;

/// What the caller hears of an error that says nothing. In gorpc an error without a text is none.
const SPEECHLESS: &str = "the handler failed and did not say why";
/// What gorpc's handlers make of a call that its caller has ended.
const CANCELLED: &str = "context canceled";

/// Serves one call.
pub(crate) async fn serve<S>(server: Arc<Server>, account: Arc<PeerAccount>, peer: PeerId, io: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, writer) = io.split();
    let mut substream =
        Substream { reading: Reading::new(reader, SILENCE), writer, account, service: ServiceId::default() };
    let request = match timeout(REQUEST, substream.request(&server, peer)).await {
        Ok(Ok(request)) => request,
        Ok(Err(Turned::Refused(err_type, error))) => return substream.refuse(err_type, error).await,
        Ok(Err(Turned::Gone)) => return,
        Err(_) => return substream.refuse(error_type::SERVER, "the request took too long".into()).await,
    };
    substream.run(server, request).await;
}

/// Why there is no request.
enum Turned {
    /// The caller is told.
    Refused(i64, String),
    /// There is no caller.
    Gone,
}

impl Turned {
    fn refused(error: impl ToString) -> Self {
        Turned::Refused(error_type::SERVER, error.to_string())
    }
}

struct Request {
    call: Admitted,
    args: Bytes,
    /// The names came by themselves, or something came behind the arguments: it may be a stream call of gorpc's, and then
    /// the end of its arguments is no cancellation.
    streaming: bool,
    _bytes: BytesPermit,
}

struct Substream<R, W> {
    reading: Reading<R>,
    writer: W,
    account: Arc<PeerAccount>,
    service: ServiceId,
}

impl<R, W> Substream<R, W>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    /// Who may not call is told before its arguments are read.
    async fn request(&mut self, server: &Server, peer: PeerId) -> Result<Request, Turned> {
        let names = match self.reading.value(MAX_SERVICE_ID, |_| true).await {
            Ok(names) => names,
            Err(Unread::Io(_) | Unread::Ended { within: false }) => return Err(Turned::Gone),
            Err(Unread::Ended { .. }) => return Err(Turned::refused("error reading service ID: EOF")),
            Err(Unread::Silent) => return Err(Turned::refused("error reading service ID: it took too long")),
            Err(Unread::Hopeless(Hopeless::TooLarge) | Unread::NoRoom) => {
                let error = format!("error reading service ID: it is larger than {MAX_SERVICE_ID} bytes");
                return Err(Turned::refused(error));
            }
            Err(Unread::Hopeless(Hopeless::NotAValue)) => {
                return Err(Turned::refused("error reading service ID: it is not MessagePack"));
            }
        };
        self.service = ServiceId::decode(&names)
            .map_err(|error| Turned::refused(format_args!("error reading service ID: {error}")))?;
        let streaming = self.reading.is_empty();
        let ServiceId { name, method } = &self.service;
        let router = server.router();
        let arriving = Arriving { peer, metadata: Metadata::default(), left: None, whole: false, now: now() };
        let call = server.admit(router.find_gorpc(name, method), &self.account, arriving);
        let mut call = call.map_err(|refusal| match refusal {
            Refusal::NoService => Turned::refused(format_args!("rpc: can't find service {name}")),
            Refusal::NoMethod => Turned::refused(format_args!("rpc: can't find method {method}")),
            Refusal::Denied => Turned::Refused(
                error_type::AUTHORIZATION,
                format!("client does not have permissions to call {name}.{method}"),
            ),
            other => Turned::refused(told(other.kind(), other.detail())),
        })?;
        let limit = call.entry.max_request(server.limits().max_message);
        let no_room = || Turned::refused(told(ErrorKind::Overloaded, "too many bytes are in flight here"));
        let mut announced = ROOM_STEP.min(limit);
        let mut bytes = self.account.reserve_coming(announced, 0).ok_or_else(no_room)?;
        // Nothing is announced: so much more is taken for granted as has come.
        let room = |held| {
            while announced <= held {
                let step = announced.clamp(1, limit.max(1));
                if !bytes.announce(step) {
                    return false;
                }
                announced = announced.saturating_add(step);
            }
            bytes.came(held)
        };
        let args = self.reading.value(limit, room).await;
        match args {
            Ok(args) => {
                if !call.permit.begin() {
                    return Err(Turned::refused(told(Refusal::NoRoom.kind(), Refusal::NoRoom.detail())));
                }
                let streaming = streaming || !self.reading.is_empty();
                Ok(Request { call, args, streaming, _bytes: bytes })
            }
            Err(Unread::Io(_)) => Err(Turned::Gone),
            Err(Unread::Silent) => Err(Turned::refused("the arguments took too long")),
            Err(Unread::Ended { .. }) => Err(Turned::refused("the arguments ended too soon: EOF")),
            Err(Unread::Hopeless(Hopeless::TooLarge)) => {
                Err(Turned::refused(format_args!("the arguments are larger than {limit} bytes")))
            }
            Err(Unread::Hopeless(Hopeless::NotAValue)) => Err(Turned::refused("the arguments are not MessagePack")),
            Err(Unread::NoRoom) => Err(no_room()),
        }
    }

    async fn run(mut self, server: Arc<Server>, request: Request) {
        let Request { call, args, streaming, _bytes: bytes } = request;
        let max_reply = server.limits().max_message;
        let deadline = call.deadline;
        let (handler, permit) = if args.len() > LARGE_BODY {
            let account = self.account.clone();
            let Some(started) = server.start_large(call, Format::Gorpc(Gorpc), args, account, max_reply).await else {
                return;
            };
            started
        } else {
            let (handler, permit, _) = server.start(call, Format::Gorpc(Gorpc), &args, &self.account, max_reply);
            drop(args);
            (handler, permit)
        };
        drop(bytes);
        let ended = tokio::select! {
            biased;
            outcome = handler => outcome.reply,
            end = given_up(&mut self.reading, streaming) => match end {
                GivenUp::Ended => return self.fail(error_type::NON_RPC, CANCELLED.into()).await,
                GivenUp::Reset => return,
            },
            () = tokio::time::sleep_until(deadline.into()) => Reply::Failed(ErrorKind::DeadlineExceeded, String::new()),
        };
        let mut replies = self.account.replies();
        replies.add(ended.body_len().unwrap_or_default());
        drop(permit);
        match ended {
            Reply::Value(body) => self.answer(String::new(), error_type::NON_RPC, &body.0).await,
            Reply::Error(text) => {
                let text = String::from_utf8_lossy(&text.0).into_owned();
                let text = if text.is_empty() { SPEECHLESS.into() } else { text };
                self.fail(error_type::NON_RPC, text).await;
            }
            Reply::Failed(kind, detail) => self.fail(error_type::SERVER, told(kind, &detail)).await,
            Reply::NoRoom => self.fail(error_type::SERVER, NO_ROOM.into()).await,
            Reply::End => self.fail(error_type::SERVER, NOT_STREAMED.into()).await,
        }
    }

    /// The caller may not be done with its arguments.
    async fn refuse(mut self, err_type: i64, error: String) {
        self.fail(err_type, error).await;
    }

    async fn fail(&mut self, err_type: i64, error: String) {
        // Nil stands where the reply would be.
        self.answer(error, err_type, &[0xc0]).await;
    }

    async fn answer(&mut self, mut error: String, err_type: i64, body: &[u8]) {
        if error.len() > MAX_ERROR {
            let end = (0..=MAX_ERROR).rev().find(|end| error.is_char_boundary(*end));
            error.truncate(end.unwrap_or_default());
        }
        let mut header = Vec::new();
        if (Response { service: self.service.clone(), error, err_type }).encode(&mut header).is_err() {
            return;
        }
        let body = if body.len() <= TOGETHER {
            header.extend_from_slice(body);
            &[]
        } else {
            body
        };
        let written = timeout(ANSWER, async {
            self.writer.write_all(&header).await?;
            self.writer.write_all(body).await?;
            self.writer.close().await
        });
        if let Ok(Ok(())) = written.await {
            let _ = timeout(FAREWELL, hear_out(&mut self.reading)).await;
        }
    }
}

/// What a Go caller is told, in a sentence.
fn told(kind: ErrorKind, detail: &str) -> String {
    if detail.is_empty() { kind.sentence().into() } else { format!("{}: {detail}", kind.sentence()) }
}

enum GivenUp {
    /// As gorpc v0.1 does it.
    Ended,
    Reset,
}

/// Waits until the caller doesn't want an answer any more.
async fn given_up<R: AsyncRead + Unpin>(reading: &mut Reading<R>, mut streaming: bool) -> GivenUp {
    let mut stray = 0;
    loop {
        match reading.skip().await {
            Ok(0) if streaming => pending().await,
            Ok(0) => return GivenUp::Ended,
            Ok(read) => {
                streaming = true;
                stray = read.saturating_add(stray);
                if stray > STRAY_BYTES {
                    return GivenUp::Reset;
                }
            }
            Err(_) => return GivenUp::Reset,
        }
    }
}

/// Reads what still comes, so that the caller gets to read what it was told, and so that its end isn't answered by a reset.
async fn hear_out<R: AsyncRead + Unpin>(reading: &mut Reading<R>) {
    let mut heard = 0;
    while heard < FAREWELL_BYTES {
        match reading.skip().await {
            Ok(0) | Err(_) => return,
            Ok(read) => heard = read.saturating_add(heard),
        }
    }
}
