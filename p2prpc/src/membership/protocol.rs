//! What nodes ask each other about who is there: the internal service `p2prpc-membership`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use futures::StreamExt;
use libp2p::PeerId;
use tokio::sync::mpsc;

use super::Input;
use super::key::Topic;
use super::member_log::MemberLog;
use super::messages::{Cursor, Description, Listing};
use crate::call::Handle;
use crate::call::{CallInfo, Context};
use crate::codec::CodecId;
use crate::error::{ErrorKind, RpcError};
use crate::fingerprint::Fingerprint;
use crate::metadata::Metadata;
use crate::p2p_service;
use crate::service::Service;

/// A question that isn't answered in this time is asked again later.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Leaving is told once, to whoever hears it in this time.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);
const GOODBYES_AT_ONCE: usize = 256;

/// The service's name on the wire.
const NAME: &str = "p2prpc-membership";

/// The metadata of an answer that has them, 16 bytes each, the numbers with the low byte first, in base64.
const METHODS: &str = "methods";

fn methods_to_text(methods: &[Fingerprint]) -> String {
    let bytes: Vec<u8> =
        methods.iter().flat_map(|(key, print)| [key.to_le_bytes(), print.to_le_bytes()]).flatten().collect();
    BASE64.encode(bytes)
}

/// Nothing if it isn't such a text.
fn methods_from_text(text: &str) -> Vec<Fingerprint> {
    let bytes = BASE64.decode(text).unwrap_or_default();
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
    bytes.chunks_exact(16).map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect()
}

/// Who is there, asked of one who is.
#[p2p_service(crate = "crate", name = "p2prpc-membership", internal)]
pub(crate) trait Membership {
    /// Which of these topics you are in, and what you serve to me.
    async fn describe(&self, cx: &Context, topics: Vec<Topic>) -> Description;

    /// The members of these topics that you are connected to now, as far as I don't know them yet.
    async fn list(&self, cx: &Context, topics: Vec<Topic>, since: Cursor) -> Listing;

    /// I am going, and it is no accident.
    async fn leaving(&self, cx: &Context);
}

struct MembershipService {
    member_log: Arc<MemberLog>,
    leaving: mpsc::Sender<PeerId>,
}

impl Membership for MembershipService {
    async fn describe(&self, cx: &Context, topics: Vec<Topic>) -> Description {
        let description = self.member_log.describe(&cx.peer(), &topics);
        // As many as are told have room.
        let _ = cx.insert_reply_metadata(METHODS, methods_to_text(&description.methods));
        description
    }

    async fn list(&self, cx: &Context, topics: Vec<Topic>, since: Cursor) -> Listing {
        self.member_log.list(&cx.peer(), &topics, since, Instant::now())
    }

    async fn leaving(&self, cx: &Context) {
        // If the node is too busy to hear it now, it will see the connection close.
        let _ = self.leaving.try_send(cx.peer());
    }
}

/// The service to be served. Peers that leave come out of the other end of `leaving`.
pub(super) fn service(member_log: Arc<MemberLog>, leaving: mpsc::Sender<PeerId>) -> Service {
    MembershipServer::new(MembershipService { member_log, leaving }).into()
}

/// A call to a peer's membership service.
#[derive(Debug)]
pub(crate) struct Question {
    pub(super) peer: PeerId,
    pub(super) topics: Vec<Topic>,
    pub(super) what: What,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Describe,
    List(Cursor),
}

impl Question {
    /// It as a call between the two.
    pub(crate) fn call(&self) -> CallInfo {
        let method = match self.what {
            What::Describe => "Describe",
            What::List(_) => "List",
        };
        CallInfo::new(self.peer, NAME, method, Metadata::new())
    }

    /// What to tell discovery if it isn't asked: to us the peer is a stranger.
    pub(crate) fn unasked(self) -> Input {
        let (peer, stranger) = (self.peer, RpcError::never_sent(ErrorKind::NotServed, ""));
        match self.what {
            What::Describe => Input::Described { peer, answer: Err(stranger) },
            What::List(_) => Input::Listed { peer, answer: Err(stranger) },
        }
    }

    /// Ask it. What it gives is to be told to discovery. It takes a few seconds at most.
    pub(crate) async fn ask(self, handle: &Handle) -> Input {
        let Question { peer, topics, what } = self;
        let stub = client(handle).peer(peer);
        match what {
            What::Describe => {
                let (answer, metadata) = stub.describe(topics).timeout(ANSWER_WITHIN).with_metadata().await;
                let methods = metadata.get(METHODS).map(methods_from_text).unwrap_or_default();
                Input::Described { peer, answer: answer.map(|told| Description { methods, ..told }) }
            }
            What::List(since) => Input::Listed { peer, answer: stub.list(topics, since).timeout(ANSWER_WITHIN).await },
        }
    }
}

/// In the codec that all nodes have, whatever the user's calls are in.
fn client(handle: &Handle) -> MembershipClient {
    MembershipClient::new(handle).codec(CodecId::default())
}

/// Tell these peers that we leave. It ends within a second, and must come before `go_away`.
pub(crate) async fn say_leaving(handle: &Handle, peers: Vec<PeerId>) {
    let client = client(handle);
    let goodbyes = futures::stream::iter(peers).for_each_concurrent(GOODBYES_AT_ONCE, |peer| {
        let goodbye = client.peer(peer).leaving().timeout(GOODBYE_WITHIN);
        async move {
            let _ = goodbye.await;
        }
    });
    let _ = tokio::time::timeout(GOODBYE_WITHIN, goodbyes).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::messages::MAX_METHODS;

    #[test]
    fn no_more_methods_are_kept_of_a_peer_than_the_bound_and_each_once() {
        let methods = (0..10_000).rev().map(|n| (n / 2, n)).collect();
        let description = Description { shared: Vec::new(), services: Vec::new(), version: 0, methods };
        let kept = description.bounded_methods();
        assert_eq!(kept.len(), MAX_METHODS / 2);
        assert!(kept.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn methods_travel_as_text_that_has_room_and_anything_else_is_none() {
        let methods: Vec<_> = (0..MAX_METHODS as u64).map(|n| (n, u64::MAX - n)).collect();
        let text = methods_to_text(&methods);
        assert_eq!(methods_from_text(&text), methods);
        Metadata::new().insert(METHODS, text.as_str()).expect("there is room for all that are told");
        assert_eq!(methods_to_text(&[(1, 2)]), "AQAAAAAAAAACAAAAAAAAAA");
        for text in ["", "A", "not base64!", "AQAAAAAAAAACAAAAAAAA"] {
            assert!(methods_from_text(text).is_empty(), "{text}");
        }
    }
}
