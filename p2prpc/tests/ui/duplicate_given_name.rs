use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self);
    #[rpc(name = "Method")] //~ "Method" => two methods are called `Service.Method` on the wire: give this one another name with `#[rpc(name = "..")]`
    async fn other(&self);
    #[rpc(name = "Method")] //~ "Method" => two methods are called `Service.Method` on the wire: give this one another name with `#[rpc(name = "..")]`
    async fn another(&self);
}
