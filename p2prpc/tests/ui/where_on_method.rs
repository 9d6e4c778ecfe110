use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self) where u8: Copy; //~ where u8: Copy => a method of a service cannot have a `where` clause
}
