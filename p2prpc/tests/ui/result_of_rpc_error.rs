use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self) -> Result<u8, p2prpc::RpcError>; //~ p2prpc::RpcError => `RpcError` is what the library says of a call: return an error of your own, the caller gets `CallError` with either
}
