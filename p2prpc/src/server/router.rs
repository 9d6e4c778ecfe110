//! `Service.Method` to handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::quota::Quota;
use super::{INTERNAL_PREFIX, Refusal, SLOW_POLL, ServeError};
use crate::service::{MethodDescriptor, Service};

/// So many quick first polls in a row, in tasks of their own, make up for the first slow one; twice as many for the next.
const QUICK_POLLS: u32 = 64;
const MAX_DOUBLINGS: u32 = 4;
/// A first poll that was slow is forgiven after this, however few came since.
pub(crate) const FORGIVEN_AFTER: Duration = Duration::from_secs(2);

/// One method of one service.
#[derive(Debug)]
pub(crate) struct MethodEntry {
    pub(crate) service: Service,
    pub(crate) method: usize,
    pub(crate) internal: bool,
    pub(super) quota: Option<Quota>,
    /// Quick first polls that are still to be seen before one is done where the request was read.
    distrust: AtomicU32,
    /// Slow first polls of late.
    slow: AtomicU32,
    /// When the last one was, in ms since `made`.
    slow_at: AtomicU64,
    made: Instant,
}

impl MethodEntry {
    pub(crate) fn descriptor(&self) -> &MethodDescriptor {
        &self.service.methods()[self.method]
    }

    /// The largest request of it, where one of so many bytes is the largest of all.
    pub(crate) fn max_request(&self, of_all: usize) -> usize {
        self.descriptor().max_request.map_or(of_all, |most| most.min(of_all))
    }

    /// True if the handler is to run as a task of its own from its first poll on.
    pub(crate) fn spawn_first(&self, now: Instant) -> bool {
        if self.descriptor().spawn {
            return true;
        }
        if self.distrust.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let slow_at = Duration::from_millis(self.slow_at.load(Ordering::Relaxed));
        let forgiven = now.saturating_duration_since(self.made) >= slow_at + FORGIVEN_AFTER;
        if forgiven {
            self.slow.store(0, Ordering::Relaxed);
            self.distrust.store(0, Ordering::Relaxed);
        }
        !forgiven
    }

    /// The first poll took so long, until now. A thread that lost its processor for a while looks like a slow handler, so
    /// trust comes back: the next time a little later, but within seconds, for whoever calls can make a handler slow.
    pub(crate) fn note_first_poll(&self, took: Duration, now: Instant) {
        let distrust = self.distrust.load(Ordering::Relaxed);
        if took > SLOW_POLL {
            let times = self.slow.fetch_add(1, Ordering::Relaxed).min(MAX_DOUBLINGS);
            let since = now.saturating_duration_since(self.made).as_millis();
            self.slow_at.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.distrust.store(QUICK_POLLS << times, Ordering::Relaxed);
        } else if distrust > 0 {
            // A count that is lost to another thread is counted again.
            self.distrust.store(distrust - 1, Ordering::Relaxed);
        }
    }
}

/// All methods that are served, by the name that a request carries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Router {
    services: Vec<Service>,
    methods: HashMap<&'static str, Arc<MethodEntry>>,
    /// By the names that Go peers know: of the service, and of the method.
    gorpc: HashMap<&'static str, HashMap<&'static str, Arc<MethodEntry>>>,
}

impl Router {
    /// By the name that a request carries.
    pub(crate) fn find(&self, method: &str) -> Result<&Arc<MethodEntry>, Refusal> {
        self.methods.get(method).ok_or_else(|| {
            let service = method.rsplit_once('.').map_or(method, |(service, _)| service);
            let served = self.services.iter().any(|other| other.name() == service);
            if served { Refusal::NoMethod } else { Refusal::NoService }
        })
    }

    /// By the names that Go peers know.
    #[cfg(feature = "gorpc")]
    pub(crate) fn find_gorpc(&self, service: &str, method: &str) -> Result<&Arc<MethodEntry>, Refusal> {
        self.gorpc.get(service).ok_or(Refusal::NoService)?.get(method).ok_or(Refusal::NoMethod)
    }

    /// The services, without the internal ones.
    #[cfg(feature = "node")]
    pub(crate) fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| !service.name().starts_with(INTERNAL_PREFIX))
    }

    /// Without this service; `None` if there is none of the name that may go.
    pub(super) fn without(&self, name: &str) -> Option<Self> {
        let gone = self.services.iter().position(|service| service.name() == name)?;
        if name.starts_with(INTERNAL_PREFIX) {
            return None;
        }
        let mut router = self.clone();
        router.services.remove(gone);
        router.methods.retain(|_, route| route.service.name() != name);
        router.gorpc.retain(|_, methods| methods.values().all(|route| route.service.name() != name));
        Some(router)
    }

    pub(super) fn with(&self, service: Service) -> Result<Self, ServeError> {
        let mut router = self.clone();
        if router.services.iter().any(|other| other.name() == service.name()) {
            return Err(ServeError::Duplicate(service.name()));
        }
        if let Some(name) = service.gorpc_name()
            && router.gorpc.contains_key(name)
        {
            return Err(ServeError::DuplicateGorpc(name));
        }
        for (method, descriptor) in service.methods().iter().enumerate() {
            let entry = MethodEntry {
                service: service.clone(),
                method,
                internal: service.name().starts_with(INTERNAL_PREFIX),
                quota: Quota::of(descriptor),
                distrust: AtomicU32::new(0),
                slow: AtomicU32::new(0),
                slow_at: AtomicU64::new(0),
                made: Instant::now(),
            };
            let entry = Arc::new(entry);
            if let Some(name) = service.gorpc_name() {
                router.gorpc.entry(name).or_default().insert(descriptor.name, entry.clone());
            }
            router.methods.insert(descriptor.full_name, entry);
        }
        router.services.push(service);
        Ok(router)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::ServiceBuilder;

    fn route() -> Arc<MethodEntry> {
        let method = crate::service::method("A", "S.A", "", false, None, 0);
        let service = ServiceBuilder::new("S", "", Arc::new(())).method(method, |_, incoming| incoming.not_served());
        Router::default().with(service.build()).unwrap().find("S.A").unwrap().clone()
    }

    #[test]
    fn distrust_is_bounded_and_forgiven_in_seconds() {
        let route = route();
        let start = Instant::now();
        assert!(!route.spawn_first(start));
        for _ in 0..1000 {
            route.note_first_poll(SLOW_POLL * 2, start);
        }
        let most =
            (0..).take_while(|_| route.spawn_first(start)).inspect(|_| route.note_first_poll(SLOW_POLL / 2, start));
        assert_eq!(most.count(), (QUICK_POLLS << MAX_DOUBLINGS) as usize);
        route.note_first_poll(SLOW_POLL * 2, start);
        assert!(route.spawn_first(start + FORGIVEN_AFTER / 2));
        assert!(!route.spawn_first(start + FORGIVEN_AFTER * 2));
        // And the next slow one counts as the first.
        route.note_first_poll(SLOW_POLL * 2, start + FORGIVEN_AFTER * 2);
        assert_eq!(route.distrust.load(Ordering::Relaxed), QUICK_POLLS);
    }
}
