use p2prpc::prelude::*;

#[p2p_service]
pub trait Gen {
    async fn gen(&self, gen: u8) -> u8;
}

pub struct G;

impl Gen for G {
    async fn gen(&self, gen: u8) -> u8 {
        gen
    }
}

pub async fn call(client: GenClient, peer: PeerId) -> Result<u8, RpcError> {
    client.peer(peer).gen(1).await
}
