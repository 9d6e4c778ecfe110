use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, numbers: Streaming<u8>); //~ Streaming<u8> => streaming methods are not supported yet
}
