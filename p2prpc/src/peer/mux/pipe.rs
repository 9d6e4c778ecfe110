//! The substream, and what is on its way into it.

use std::io;
use std::task::Context;

use futures::{AsyncRead, AsyncWrite};

use super::client_shared::Shared;
use crate::peer::mux::send_queue::Writer;
use crate::sync::Mutex;

pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for S {}

/// Belongs to the stream's task; a caller writes into it while that sleeps.
pub(crate) struct Pipe {
    /// `None` once the stream has ended.
    pub(crate) io: Option<Box<dyn ByteStream>>,
    pub(crate) writer: Writer,
}

impl Pipe {
    pub(crate) fn new(io: Box<dyn ByteStream>) -> Self {
        Pipe { io: Some(io), writer: Writer::default() }
    }

    /// Write what is queued. True if all of it is written, and the stream's task sleeps until there is more.
    pub(crate) fn write(&mut self, cx: &mut Context<'_>, shared: &Mutex<Shared>) -> io::Result<bool> {
        let Pipe { io: Some(io), writer } = self else { return Ok(false) };
        loop {
            if !writer.is_empty() && writer.poll_write(cx, io)?.is_pending() {
                shared.lock().out.park(cx, true);
                return Ok(false);
            }
            let mut shared = shared.lock();
            shared.out.refill(writer);
            if writer.is_empty() {
                shared.out.park(cx, false);
                break;
            }
        }
        Ok(writer.poll_flush(cx, io)?.is_ready())
    }
}
