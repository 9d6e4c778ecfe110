//! Calls on their way in from Go peers: who may not call is told so, and what isn't there too, as Go callers expect.

use std::sync::Arc;

use libp2p::PeerId;

use super::{Admitted, Refusal, Server};
use crate::call::CallInfo;
use crate::clock::now;
use crate::limits::PeerAccount;
use crate::metadata::Metadata;

/// Why no handler was started for a Go peer's call.
#[derive(Debug)]
pub(crate) enum GorpcRefusal {
    NoService,
    NoMethod,
    Denied,
    NoRoom(Refusal),
}

impl Server {
    /// May this call run, and is there room for it? What the two differ in from [`Server::admit`] is what a refused caller learns, and that
    /// the arguments are always still to come.
    pub(crate) fn admit_gorpc(
        &self,
        account: &Arc<PeerAccount>,
        peer: PeerId,
        service: &str,
        method: &str,
    ) -> Result<Admitted, GorpcRefusal> {
        let router = self.router();
        let methods = router.find_gorpc(service).ok_or(GorpcRefusal::NoService)?;
        let route = methods.get(method).ok_or(GorpcRefusal::NoMethod)?;
        let info = CallInfo::new(peer, route.service.name(), route.descriptor().name, Metadata::default());
        if !self.allows(route, &info) {
            return Err(GorpcRefusal::Denied);
        }
        self.make_room(route, info, account, None, false, now()).map_err(GorpcRefusal::NoRoom)
    }
}
