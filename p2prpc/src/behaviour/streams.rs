//! What a connection does for streaming calls: substreams that carry one at a time, either way.

use std::net::IpAddr;
use std::sync::Arc;

use futures::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::accounts::PeerAccount;
use crate::call::Duplex;
use crate::error::RpcError;
use crate::peer::{Connection, ConnectionKey, PeerSession};
use crate::server::{Server, serve_streams};

/// One connection of a peer.
pub(super) struct StreamConnection {
    session: Arc<PeerSession>,
    key: ConnectionKey,
    /// Cancelled when the connection ends: not every substream notices.
    lost: CancellationToken,
    account: Option<Arc<PeerAccount>>,
}

impl StreamConnection {
    pub(super) fn new(session: Arc<PeerSession>, connection: Arc<Connection>) -> Self {
        let (key, lost) = session.streams().connected(connection);
        StreamConnection { session, key, lost, account: None }
    }

    /// True if a substream is to be opened.
    pub(super) fn starts_opening(&self) -> bool {
        self.session.streams().starts_opening(self.key)
    }

    pub(super) fn is_opening(&self) -> bool {
        self.session.streams().is_opening(self.key)
    }

    /// What became of a substream that was asked for.
    pub(super) fn opened(&self, result: Result<Box<dyn Duplex>, RpcError>) {
        self.session.streams().opened(self.key, result);
    }

    /// True while streaming calls run, either way.
    pub(super) fn has_calls(&self) -> bool {
        self.session.streams().is_busy()
    }

    /// The peer has opened a substream. One too many is reset.
    pub(super) fn accept<S>(&mut self, server: &Arc<Server>, remote: Option<IpAddr>, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = self.session.peer();
        if server.refuses(&peer) {
            tracing::debug!(%peer, "a stream of a peer that sent much of no use is reset");
            return;
        }
        let Some((counted, serving)) = self.session.streams().accept() else {
            tracing::debug!(%peer, "too many streams: one is reset");
            return;
        };
        let account = self.account.get_or_insert_with(|| server.accounts().open(peer, remote)).clone();
        let (server, lost) = (server.clone(), self.lost.clone());
        tokio::spawn(async move {
            lost.run_until_cancelled(serve_streams(server, account, peer, serving, stream)).await;
            drop(counted);
        });
    }
}

impl Drop for StreamConnection {
    fn drop(&mut self) {
        self.lost.cancel();
        self.session.streams().disconnected(self.key);
    }
}
