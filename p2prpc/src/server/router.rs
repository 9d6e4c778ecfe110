//! `Service.Method` to handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hashbrown::HashMap;

use super::{INTERNAL_PREFIX, SLOW_POLL, ServeError};
use crate::service::{MethodDescriptor, Service};

/// So many quick first polls in a row, in tasks of their own, make up for the first slow one; twice as many for the next.
const QUICK_POLLS: u32 = 64;
const MAX_DOUBLINGS: u32 = 20;

/// One method of one service.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) service: Service,
    pub(crate) method: usize,
    pub(crate) internal: bool,
    /// Quick first polls that are still to be seen before one is done where the request was read.
    distrust: AtomicU32,
    /// Slow first polls so far.
    slow: AtomicU32,
}

impl Route {
    pub(crate) fn descriptor(&self) -> &MethodDescriptor {
        &self.service.methods()[self.method]
    }

    /// True if the handler is to run as a task of its own from its first poll on.
    pub(crate) fn spawn_first(&self) -> bool {
        self.descriptor().spawn || self.distrust.load(Ordering::Relaxed) > 0
    }

    /// The first poll took so long. A thread that lost its processor for a while looks like a slow handler, so trust
    /// comes back, each time later.
    pub(crate) fn note_first_poll(&self, took: Duration) {
        let distrust = self.distrust.load(Ordering::Relaxed);
        if took > SLOW_POLL {
            let times = self.slow.fetch_add(1, Ordering::Relaxed).min(MAX_DOUBLINGS);
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
    routes: HashMap<&'static str, Arc<Route>>,
    /// By the names that Go peers know: of the service, and of the method.
    #[cfg(feature = "gorpc")]
    gorpc: HashMap<&'static str, HashMap<&'static str, Arc<Route>>>,
}

impl Router {
    pub(crate) fn find(&self, method: &str) -> Option<&Arc<Route>> {
        self.routes.get(method)
    }

    /// The methods of a service, by the name that Go peers know it by.
    #[cfg(feature = "gorpc")]
    pub(crate) fn find_gorpc(&self, service: &str) -> Option<&HashMap<&'static str, Arc<Route>>> {
        self.gorpc.get(service)
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
        router.routes.retain(|_, route| route.service.name() != name);
        #[cfg(feature = "gorpc")]
        router.gorpc.retain(|_, methods| methods.values().all(|route| route.service.name() != name));
        Some(router)
    }

    pub(super) fn with(&self, service: Service) -> Result<Self, ServeError> {
        let mut router = self.clone();
        if router.services.iter().any(|other| other.name() == service.name()) {
            return Err(ServeError::Duplicate(service.name()));
        }
        #[cfg(feature = "gorpc")]
        if let Some(name) = service.gorpc_name()
            && router.gorpc.contains_key(name)
        {
            return Err(ServeError::DuplicateGorpc(name));
        }
        for (method, descriptor) in service.methods().iter().enumerate() {
            let route = Route {
                service: service.clone(),
                method,
                internal: service.name().starts_with(INTERNAL_PREFIX),
                distrust: AtomicU32::new(0),
                slow: AtomicU32::new(0),
            };
            let route = Arc::new(route);
            #[cfg(feature = "gorpc")]
            if let Some(name) = service.gorpc_name() {
                router.gorpc.entry(name).or_default().insert(descriptor.name, route.clone());
            }
            router.routes.insert(descriptor.full_name, route);
        }
        router.services.push(service);
        Ok(router)
    }
}
