//! What discovery knows of peers, for the behaviour that makes calls: it is asked by events, which the driver answers.

use libp2p::PeerId;

use crate::behaviour::{Directory, Event, Resolver};
use crate::call::Dialect;
use crate::members::Members;

#[derive(Clone, Copy, Debug)]
pub(super) struct Discovered;

impl Directory for Discovered {
    /// Discovery knows of Go peers by what they say of themselves: they can't describe themselves.
    fn supported(&mut self, _: &Members, peer: PeerId, dialect: Dialect) -> Option<Event> {
        (dialect == Dialect::Native).then_some(Event::Supported { peer })
    }

    fn disconnected(&mut self, _: &Members, _: &PeerId) {}
}

impl Resolver for Discovered {
    fn look_up(&mut self, peer: PeerId) -> Option<Event> {
        Some(Event::AddressesWanted { peer })
    }

    fn silent(&mut self, peer: PeerId) -> Option<Event> {
        Some(Event::Silent { peer })
    }
}
