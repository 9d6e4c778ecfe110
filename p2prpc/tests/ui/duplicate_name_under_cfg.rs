use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self);
    #[cfg(all())]
    #[rpc(name = "Method")] //~ "Method" => two methods are called `Service.Method` on the wire: give this one another name with `#[rpc(name = "..")]`
    async fn second(&self);
    #[cfg(any())]
    #[rpc(name = "Method")]
    async fn third(&self);
}
