use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    #[rpc(idempotent, idempotent)] //~ idempotent => `idempotent` is given twice
    async fn method(&self);
    #[rpc(name = "A")]
    #[rpc(name = "B")] //~ name = "B" => `name` is given twice
    async fn other(&self);
}
