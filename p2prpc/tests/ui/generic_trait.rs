use p2prpc::p2p_service;

#[p2p_service]
pub trait Service<T> { //~ <T> => a service cannot be generic: both sides must know the types that travel
    async fn method(&self);
}
