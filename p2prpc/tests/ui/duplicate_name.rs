use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self);
    async fn method_(&self); //~ method_ => two methods are called `Service.Method` on the wire: give this one another name with `#[rpc(name = "..")]`
}
