//! What stands between a client's calls and the channel that carries them.

use std::fmt;
use std::sync::Arc;

use crate::call::Channel;

/// One thing that calls pass on their way out. It makes a channel of its own in front of the one that carries calls to a peer.
pub(crate) trait Layer: Send + Sync + 'static {
    /// A channel that passes calls on to `inner`, and answers back.
    fn layer(&self, inner: Arc<dyn Channel>) -> Arc<dyn Channel>;
}

/// The layers of a client. Without one a call pays for a look.
#[derive(Clone, Default)]
pub(crate) struct Layers(Option<Arc<dyn Layer>>);

impl Layers {
    #[cfg(test)]
    pub(crate) fn of(layer: impl Layer) -> Self {
        Layers(Some(Arc::new(layer)))
    }

    pub(crate) fn layer(&self, inner: Arc<dyn Channel>) -> Arc<dyn Channel> {
        match &self.0 {
            None => inner,
            Some(layer) => layer.layer(inner),
        }
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_none() { "Layers(none)" } else { "Layers(some)" })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use libp2p::PeerId;

    use super::*;
    use crate::call::{Formats, PendingCall, Request};
    use crate::p2p_service;

    #[p2p_service(crate = "crate")]
    trait Greeter {
        async fn greet(&self, name: String) -> String;
    }

    struct Here;

    impl Greeter for Here {
        async fn greet(&self, name: String) -> String {
            format!("hello {name}")
        }
    }

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<&'static str>>>);

    impl Layer for Seen {
        fn layer(&self, inner: Arc<dyn Channel>) -> Arc<dyn Channel> {
            Arc::new(Watched { inner, seen: self.clone() })
        }
    }

    struct Watched {
        inner: Arc<dyn Channel>,
        seen: Seen,
    }

    impl Channel for Watched {
        fn formats(&self) -> Formats {
            self.inner.formats()
        }

        fn submit(&self, request: Request<'_>, call: &Arc<PendingCall>) {
            self.seen.0.lock().unwrap().push(request.head.method.full);
            self.inner.submit(request, call);
        }

        fn cancel(&self, call: &Arc<PendingCall>) {
            self.seen.0.lock().unwrap().push("cancelled");
            self.inner.cancel(call);
        }
    }

    #[tokio::test]
    async fn a_layer_sees_each_call_and_each_one_that_is_given_up() {
        let seen = Seen::default();
        let mut client = GreeterClient::local(GreeterServer::new(Here));
        client.client = client.client.layered(Layers::of(seen.clone()));
        let peer = PeerId::random();
        assert_eq!(client.peer(peer).greet("Ada".into()).await.unwrap(), "hello Ada");
        let many = client.peers([peer, peer]).greet("Bob".into()).await;
        assert!(many.into_iter().all(|(_, reply)| reply.is_ok()));
        drop(client.peer(peer).greet("Cid".into()).begin());
        let seen = seen.0.lock().unwrap();
        assert_eq!(*seen, ["Greeter.Greet", "Greeter.Greet", "Greeter.Greet", "Greeter.Greet", "cancelled"]);
    }
}
