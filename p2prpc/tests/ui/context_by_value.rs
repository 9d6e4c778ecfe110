use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, cx: Context, number: u8) -> u8; //~ Context => `p2prpc::Context` cannot be an argument of a service's method
}
