use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method<'a>(&self); //~ <'a> => a method of a service cannot be generic: both sides must know the types that travel
}
