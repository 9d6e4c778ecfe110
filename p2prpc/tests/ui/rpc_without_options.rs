use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    #[rpc] //~ rpc => `rpc` takes options: `#[rpc(idempotent)]`, `#[rpc(spawn)]`, `#[rpc(name = "..")]`, `#[rpc(timeout = "60s")]`
    async fn method(&self);
}
