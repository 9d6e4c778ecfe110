use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self) -> impl Stream<Item = u8>; //~ impl Stream<Item = u8> => streaming methods are not supported yet
}
