use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    const LIMIT: u8; //~ const => a service has methods only: put the constant outside the trait
}
