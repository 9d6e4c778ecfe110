use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    #[rpc] //~ rpc => `rpc` takes options, as `#[rpc(idempotent)]`: there are `name = ".."`
    async fn method(&self);
}
