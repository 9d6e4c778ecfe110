//! What stands between the wire and the handlers: the rules of `authorize`, and whatever else is to see calls on their way in.

use std::fmt;
use std::sync::Arc;

use crate::call::CallInfo;
use crate::panics::caught;
use crate::service::HandlerFuture;

/// One thing that calls pass on their way in. It runs for each call.
pub(crate) trait Layer: Send + Sync + 'static {
    /// To a caller who may not make this call, the method doesn't exist. It is asked before anything is counted or decoded.
    fn allows(&self, _: &CallInfo) -> bool {
        true
    }

    /// What runs in place of the handler of a call: the handler itself, or something around it.
    fn wrap(&self, _: &CallInfo, handler: HandlerFuture) -> HandlerFuture {
        handler
    }
}

/// A rule of `authorize`. One that panics denies.
struct Rule<F>(F);

impl<F: Fn(&CallInfo) -> bool + Send + Sync + 'static> Layer for Rule<F> {
    fn allows(&self, call: &CallInfo) -> bool {
        caught(|| (self.0)(call)).unwrap_or(false)
    }
}

/// Calls pass the outer one first.
struct Both {
    outer: Arc<dyn Layer>,
    inner: Arc<dyn Layer>,
}

impl Layer for Both {
    fn allows(&self, call: &CallInfo) -> bool {
        self.outer.allows(call) && self.inner.allows(call)
    }

    fn wrap(&self, call: &CallInfo, handler: HandlerFuture) -> HandlerFuture {
        self.outer.wrap(call, self.inner.wrap(call, handler))
    }
}

/// The layers of a service or of a node. Without one a call pays for a look.
#[derive(Clone, Default)]
pub(crate) struct Layers(Option<Arc<dyn Layer>>);

impl Layers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Behind those that are there.
    pub(crate) fn add(&mut self, inner: impl Layer) {
        self.append(Layers(Some(Arc::new(inner))));
    }

    /// These behind those that are there.
    pub(crate) fn append(&mut self, inner: Layers) {
        let Some(inner) = inner.0 else { return };
        self.0 = Some(match self.0.take() {
            None => inner,
            Some(outer) => Arc::new(Both { outer, inner }),
        });
    }

    /// All rules have to agree.
    pub(crate) fn authorize(&mut self, rule: impl Fn(&CallInfo) -> bool + Send + Sync + 'static) {
        self.add(Rule(rule));
    }
}

impl Layers {
    pub(crate) fn allows(&self, call: &CallInfo) -> bool {
        self.0.as_ref().is_none_or(|layer| layer.allows(call))
    }

    pub(crate) fn wrap(&self, call: &CallInfo, handler: HandlerFuture) -> HandlerFuture {
        match &self.0 {
            None => handler,
            Some(layer) => layer.wrap(call, handler),
        }
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Layers(none)" } else { "Layers(some)" })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures::FutureExt;
    use libp2p::PeerId;

    use super::*;
    use crate::p2p_service;

    #[p2p_service(crate = "crate")]
    trait Greeter {
        async fn greet(&self) -> String;
    }

    struct Here;

    impl Greeter for Here {
        async fn greet(&self) -> String {
            tokio::time::sleep(Duration::from_millis(10)).await;
            "hello".into()
        }
    }

    /// Notes how many calls it let through, and how many of their handlers are done.
    #[derive(Default)]
    struct Counting {
        begun: AtomicU32,
        done: AtomicU32,
    }

    impl Layer for Arc<Counting> {
        fn wrap(&self, call: &CallInfo, handler: HandlerFuture) -> HandlerFuture {
            assert_eq!(call.method(), "Greet");
            self.begun.fetch_add(1, Ordering::SeqCst);
            let counting = self.clone();
            let done = move |_: &_| {
                counting.done.fetch_add(1, Ordering::SeqCst);
            };
            handler.inspect(done).boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_layer_stands_around_the_handlers_of_calls_that_the_rules_let_through() {
        let counting = Arc::<Counting>::default();
        let friend = PeerId::random();
        let mut layers = Layers::default();
        layers.authorize(move |call| call.peer() == friend);
        layers.add(counting.clone());
        let service = crate::Service::from(GreeterServer::new(Here)).behind(layers);
        let client = |peer| GreeterClient::local_as(peer, service.clone());
        let stranger = PeerId::random();
        assert!(client(stranger).peer(stranger).greet().await.is_err());
        assert_eq!(counting.begun.load(Ordering::SeqCst), 0);
        assert_eq!(client(friend).peer(friend).greet().await.unwrap(), "hello");
        assert_eq!((counting.begun.load(Ordering::SeqCst), counting.done.load(Ordering::SeqCst)), (1, 1));
    }

    #[test]
    fn all_rules_have_to_agree_and_one_that_panics_denies() {
        let mut layers = Layers::default();
        let call = CallInfo::new(PeerId::random(), "Greeter", "Greet", crate::Metadata::new());
        assert!(layers.is_empty() && layers.allows(&call));
        layers.authorize(|_| true);
        assert!(layers.allows(&call));
        let mut denying = layers.clone();
        denying.authorize(|call| call.method() != "Greet");
        denying.authorize(|_| true);
        assert!(!denying.allows(&call));
        layers.authorize(|_| panic!("it can't tell"));
        assert!(!layers.allows(&call));
    }
}
