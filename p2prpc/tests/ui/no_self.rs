use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(argument: u8); //~ method => a method of a service takes `&self`
}
