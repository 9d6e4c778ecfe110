use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    #[cfg_attr(unix, rpc(idempotent))] //~ rpc(idempotent) => `rpc` cannot depend on `cfg_attr`: write the method twice, each with its own `#[cfg(..)]`
    async fn method(&self);
}
