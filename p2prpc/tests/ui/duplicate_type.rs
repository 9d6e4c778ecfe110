use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self);
    #[rpc(name = "Other")]
    async fn method_(&self); //~ method_ => `method` and `method_` both become the type `Method`: rename one
}
