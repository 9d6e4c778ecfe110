use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    fn method(&self) -> u8; //~ fn => a method of a service is an `async fn`
}
