use p2prpc::p2p_service;

#[p2p_service]
pub unsafe trait Service { //~ unsafe => a service cannot be `unsafe`: callers are on other machines
    async fn method(&self);
}
