//! `Service.Method` to handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashbrown::HashMap;

use super::{INTERNAL_PREFIX, SLOW_POLL, ServeError};
use crate::service::{MethodDescriptor, Service};

/// One method of one service.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) service: Service,
    pub(crate) method: usize,
    pub(crate) internal: bool,
    spawn_first: AtomicBool,
}

impl Route {
    pub(crate) fn descriptor(&self) -> &MethodDescriptor {
        &self.service.methods()[self.method]
    }

    /// True if the handler is to run as a task of its own from its first poll on.
    pub(crate) fn spawn_first(&self) -> bool {
        self.spawn_first.load(Ordering::Relaxed)
    }

    /// The first poll, done where the request was read, took so long.
    pub(crate) fn note_first_poll(&self, took: Duration) {
        if took > SLOW_POLL {
            self.spawn_first.store(true, Ordering::Relaxed);
        }
    }
}

/// All methods that are served, by the name that a request carries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Router {
    services: Vec<Service>,
    routes: HashMap<&'static str, Arc<Route>>,
}

impl Router {
    pub(crate) fn find(&self, method: &str) -> Option<&Arc<Route>> {
        self.routes.get(method)
    }

    /// The services, without the internal ones.
    #[cfg(feature = "node")]
    pub(crate) fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| !service.name().starts_with(INTERNAL_PREFIX))
    }

    pub(super) fn with(&self, service: Service) -> Result<Self, ServeError> {
        let mut router = self.clone();
        if router.services.iter().any(|other| other.name() == service.name()) {
            return Err(ServeError::Duplicate(service.name()));
        }
        for (method, descriptor) in service.methods().iter().enumerate() {
            let route = Route {
                service: service.clone(),
                method,
                internal: service.name().starts_with(INTERNAL_PREFIX),
                spawn_first: AtomicBool::new(descriptor.spawn),
            };
            router.routes.insert(descriptor.full_name, Arc::new(route));
        }
        router.services.push(service);
        Ok(router)
    }
}
