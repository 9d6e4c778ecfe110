//! Bodies that take long to decode.

use std::sync::Arc;
use std::thread::available_parallelism;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{Admitted, Guarded, Server};
use crate::accounts::{CallPermit, PeerAccount};
use crate::codec::Format;

/// A longer body is decoded on a thread for blocking work. A message of 64 KiB and its own few bytes is not.
pub(crate) const LARGE_BODY: usize = 65 * 1024;

/// The places at which large bodies are decoded: half as many as there are processors.
#[derive(Debug)]
pub(super) struct Large(Arc<Semaphore>);

impl Default for Large {
    fn default() -> Self {
        let places = available_parallelism().map_or(1, |cores| cores.get() / 2).max(1);
        Large(Arc::new(Semaphore::new(places)))
    }
}

impl Server {
    /// As [`Server::start`], where it holds up nobody else. `None` if the runtime is shutting down.
    pub(crate) async fn start_large(
        self: Arc<Self>,
        call: Admitted,
        format: Format,
        body: Bytes,
        account: Arc<PeerAccount>,
        max_reply: usize,
    ) -> Option<(Guarded, CallPermit)> {
        let turn = self.large.0.clone().acquire_owned().await.ok()?;
        let decoding = tokio::task::spawn_blocking(move || {
            let (handler, permit, _) = self.start(call, format, &body, &account, max_reply);
            // Whoever is waited for no longer keeps its place until it is done.
            drop((body, turn));
            (handler, permit)
        });
        decoding.await.ok()
    }
}
