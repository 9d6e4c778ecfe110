use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&'static self); //~ 'static => `&self` is borrowed for the call: leave the lifetime out
}
