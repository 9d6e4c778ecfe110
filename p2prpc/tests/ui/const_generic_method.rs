use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method<const N: usize>(&self); //~ <const N: usize> => a method of a service cannot be generic: both sides must know the types that travel
}
