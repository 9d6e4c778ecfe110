//! The service that all peers serve and call, those of the Go program too.

use p2prpc::prelude::*;
use serde::{Deserialize, Serialize};

/// What is sent and what comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Envelope {
    /// Any text.
    pub(crate) message: String,
}

#[p2p_service(gorpc = "EchoRPCAPI")]
pub(crate) trait EchoService {
    /// Send the message back, saying who does.
    async fn echo(&self, msg: Envelope) -> Envelope;
}

/// Echoes as the Go program does.
pub(crate) struct Echo {
    own: PeerId,
}

impl Echo {
    pub(crate) fn new(own: PeerId) -> Self {
        Echo { own }
    }
}

impl EchoService for Echo {
    async fn echo(&self, msg: Envelope) -> Envelope {
        Envelope { message: format!("Peer {} echoing: {}", self.own, msg.message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_reply_says_who_echoes_what() {
        let own = PeerId::random();
        let client = EchoServiceClient::local(Echo::new(own));
        let peer = client.local_peer_id().unwrap();
        let reply = client.peer(peer).echo(Envelope { message: "hi".into() }).await.unwrap();
        assert_eq!(reply.message, format!("Peer {own} echoing: hi"));
    }
}
