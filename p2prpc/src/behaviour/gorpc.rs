//! What a connection does for peers that speak gorpc: a substream for each call, either way.

use std::net::IpAddr;
use std::sync::Arc;

use futures::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::call::Dialect;
use crate::error::{ErrorKind, RpcError};
use crate::limits::PeerAccount;
use crate::peer::gorpc_server;
use crate::peer::{BilingualLink, Connection, ConnectionKey};
use crate::server::Server;

/// One connection of a peer that may speak gorpc.
pub(super) struct GorpcConnection {
    link: Arc<BilingualLink>,
    key: ConnectionKey,
    /// Cancelled when the connection ends: not every substream notices.
    lost: CancellationToken,
    account: Option<Arc<PeerAccount>>,
    /// The peer has said that it speaks it.
    named: bool,
}

impl GorpcConnection {
    pub(super) fn new(link: Arc<BilingualLink>, connection: Arc<Connection>) -> Self {
        let (key, lost) = link.connected(connection);
        GorpcConnection { link, key, lost, account: None, named: false }
    }

    /// What the peer says of itself. True if it speaks gorpc, and that is news.
    pub(super) fn note_protocols(&mut self, native: bool, gorpc: bool) -> bool {
        if native {
            self.link.decided(Dialect::Native, None);
        } else if gorpc && self.link.dialect().is_none() {
            self.link.decided(Dialect::Gorpc, None);
        }
        gorpc && !std::mem::replace(&mut self.named, true)
    }

    /// True as long as a stream for calls has to be proposed in both dialects.
    pub(super) fn proposes_both(&self) -> bool {
        self.link.dialect() != Some(Dialect::Native)
    }

    /// True if a substream is to be opened for one call.
    pub(super) fn starts_opening(&self) -> bool {
        self.link.starts_opening(self.key)
    }

    pub(super) fn is_opening(&self) -> bool {
        self.link.is_opening(self.key)
    }

    pub(super) fn opened<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.link.substream(self.key, Ok(Box::new(stream)));
    }

    pub(super) fn open_failed(&self, error: RpcError) {
        if error.kind() == ErrorKind::NotSupported {
            self.link.mistaken();
        }
        self.link.substream(self.key, Err(error));
    }

    /// A stream that was proposed in both dialects is in gorpc.
    pub(super) fn decided<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.link.decided_by(self.key, Box::new(stream));
    }

    pub(super) fn decided_natively(&self) {
        self.link.decided(Dialect::Native, None);
    }

    /// The peer calls. One call too many is reset.
    pub(super) fn accept<S>(&mut self, server: &Arc<Server>, remote: Option<IpAddr>, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if server.refuses(&self.link.peer()) {
            tracing::debug!(peer = %self.link.peer(), "a call of a peer that sent much of no use is reset");
            return;
        }
        let Some(serving) = self.link.serves() else {
            tracing::debug!(peer = %self.link.peer(), "too many calls in gorpc: one is reset");
            return;
        };
        let account = self.account.get_or_insert_with(|| server.accounts().open(self.link.peer(), remote)).clone();
        let (server, lost, peer) = (server.clone(), self.lost.clone(), self.link.peer());
        tokio::spawn(async move {
            lost.run_until_cancelled(gorpc_server::serve(server, account, peer, stream)).await;
            drop(serving);
        });
    }
}

impl Drop for GorpcConnection {
    fn drop(&mut self) {
        self.link.disconnected(self.key);
    }
}
