use p2prpc::p2p_service;

#[p2p_service]
#[rpc(name = "Echo")] //~ rpc => `rpc` goes on a method; a service is named by `#[p2p_service(name = "..")]`
pub trait Service {
    async fn method(&self);
}
