//! What a connection does for peers that speak gorpc: a substream for each call, either way.

use std::net::IpAddr;
use std::sync::Arc;

use futures::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::accounts::PeerAccount;
use crate::call::{Dialect, Duplex};
use crate::error::{ErrorKind, RpcError};
use crate::peer::{Connection, ConnectionKey, PeerSession, Single, serve_gorpc};
use crate::server::Server;

/// One connection of a peer that may speak gorpc.
pub(super) struct GorpcConnection {
    session: Arc<PeerSession>,
    key: ConnectionKey,
    /// Cancelled when the connection ends: not every substream notices.
    lost: CancellationToken,
    account: Option<Arc<PeerAccount>>,
    /// The peer has said that it speaks it.
    named: bool,
}

impl GorpcConnection {
    /// `None` where no peer may.
    pub(super) fn new(session: Arc<PeerSession>, connection: Arc<Connection>) -> Option<Self> {
        let (key, lost) = session.single()?.connected(connection);
        Some(GorpcConnection { session, key, lost, account: None, named: false })
    }

    /// What the peer says of itself. True if it speaks gorpc, and that is news.
    pub(super) fn note_protocols(&mut self, native: bool, gorpc: bool) -> bool {
        if native {
            self.session.decided(Dialect::Native, None);
        } else if gorpc && self.session.dialect().is_none() {
            self.session.decided(Dialect::Gorpc, None);
        }
        gorpc && !std::mem::replace(&mut self.named, true)
    }

    /// True as long as a stream for calls has to be proposed in both dialects.
    pub(super) fn proposes_both(&self) -> bool {
        self.session.dialect() != Some(Dialect::Native)
    }

    /// True if a substream is to be opened for one call.
    pub(super) fn starts_opening(&self) -> bool {
        self.session.single().is_some_and(|single| single.starts_opening(self.key))
    }

    pub(super) fn is_opening(&self) -> bool {
        self.session.single().is_some_and(|single| single.is_opening(self.key))
    }

    /// What became of a substream that was asked for.
    pub(super) fn opened(&self, result: Result<Box<dyn Duplex>, RpcError>) {
        if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotSupported) {
            self.session.mistaken();
        }
        if let Some(single) = self.session.single() {
            single.opened(self.key, result);
        }
    }

    /// A stream that was proposed in both dialects is in gorpc.
    pub(super) fn decided<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let substream = self.session.single().and_then(|single| single.negotiated(self.key, Box::new(stream)));
        self.session.decided(Dialect::Gorpc, substream);
    }

    /// The peer calls. One call too many is reset.
    pub(super) fn accept<S>(&mut self, server: &Arc<Server>, remote: Option<IpAddr>, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if server.refuses(&self.session.peer()) {
            tracing::debug!(peer = %self.session.peer(), "a call of a peer that sent much of no use is reset");
            return;
        }
        let Some(serving) = self.session.single().and_then(Single::serves) else {
            tracing::debug!(peer = %self.session.peer(), "too many calls in gorpc: one is reset");
            return;
        };
        let account = self.account.get_or_insert_with(|| server.accounts().open(self.session.peer(), remote)).clone();
        let (server, lost, peer) = (server.clone(), self.lost.clone(), self.session.peer());
        tokio::spawn(async move {
            lost.run_until_cancelled(serve_gorpc(server, account, peer, stream)).await;
            drop(serving);
        });
    }
}

impl Drop for GorpcConnection {
    fn drop(&mut self) {
        self.session.single_disconnected(self.key);
    }
}
