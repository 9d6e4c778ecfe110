use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(mut self) {} //~ self => calls share their service: take `&self`, not `self`
}
