use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async unsafe fn method(&self); //~ unsafe => a method of a service cannot be `unsafe`: its callers are on other machines
}
