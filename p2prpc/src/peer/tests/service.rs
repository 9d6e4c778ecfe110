//! What is called.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::codec::{self, CodecId};
use crate::service::{MethodDescriptor, PROBE, Service, ServiceBuilder, fallible, infallible};

/// What the handlers saw.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// Handlers that were started.
    pub(super) started: AtomicUsize,
    /// Handlers that are there.
    pub(super) alive: AtomicUsize,
    /// The most there ever were at once.
    pub(super) most: AtomicUsize,
}

impl Probe {
    pub(super) fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    pub(super) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn enter(self: &Arc<Self>) -> Inside {
        self.started.fetch_add(1, Ordering::SeqCst);
        let alive = self.alive.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(alive, Ordering::SeqCst);
        Inside(self.clone())
    }
}

struct Inside(Arc<Probe>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Takes its time to go.
struct Reluctant {
    _inside: Inside,
}

impl Drop for Reluctant {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(super) fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut body = Vec::new();
    codec::encode(CodecId::default(), value, &mut body, usize::MAX).unwrap();
    body
}

/// Not more than somewhat above the limits, whatever was asked for.
fn text(len: u32) -> String {
    "x".repeat((len as usize).min(8 << 20))
}

fn descriptor(full_name: &'static str, name: &'static str) -> MethodDescriptor {
    crate::service::method(name, full_name, "", false, None, 0)
}

/// `Echo` gives back its text. `Wait` never ends by itself. `Big` and `Later` give so many bytes, at once and after a
/// moment. `Reluctant` is a `Wait` that takes time to be dropped. `Fail` fails with its text. `Panic` panics.
pub(super) fn service(probe: Arc<Probe>) -> Service {
    ServiceBuilder::new("Probe", "", probe)
        .method(descriptor("Probe.Echo", "Echo"), |probe, incoming| {
            let inside = probe.enter();
            infallible(incoming, PROBE, None, move |_, text: String| async move {
                let _inside = inside;
                text
            })
        })
        .method(descriptor("Probe.Wait", "Wait"), |probe, incoming| {
            let inside = probe.enter();
            infallible(incoming, PROBE, None, move |_, _: String| async move {
                let _inside = inside;
                std::future::pending::<()>().await;
            })
        })
        .method(descriptor("Probe.Big", "Big"), |probe, incoming| {
            let inside = probe.enter();
            infallible(incoming, PROBE, None, move |_, len: u32| async move {
                let _inside = inside;
                text(len)
            })
        })
        .method(descriptor("Probe.Later", "Later"), |probe, incoming| {
            let inside = probe.enter();
            infallible(incoming, PROBE, None, move |_, len: u32| async move {
                let _inside = inside;
                tokio::time::sleep(Duration::from_millis(1)).await;
                text(len)
            })
        })
        .method(descriptor("Probe.Reluctant", "Reluctant"), |probe, incoming| {
            let inside = Reluctant { _inside: probe.enter() };
            infallible(incoming, PROBE, None, move |_, _: String| async move {
                let _inside = inside;
                std::future::pending::<()>().await;
            })
        })
        .method(descriptor("Probe.Fail", "Fail"), |probe, incoming| {
            let inside = probe.enter();
            fallible(incoming, move |_, text: String| async move {
                let _inside = inside;
                Err::<(), String>(text)
            })
        })
        .method(descriptor("Probe.Panic", "Panic"), |probe, incoming| {
            let inside = probe.enter();
            infallible(incoming, PROBE, None, move |_, text: String| async move {
                let _inside = inside;
                std::panic::resume_unwind(Box::new(text));
                #[allow(unreachable_code)]
                ()
            })
        })
        .build()
}
