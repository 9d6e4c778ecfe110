use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self) -> Result<impl futures::Stream<Item = u8> + Send, String>; //~ Result<impl futures::Stream<Item = u8> + Send, String> => streaming methods are not supported yet
}
