use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&mut self); //~ mut => calls share their service: take `&self`, and put what changes into a lock or an atomic
}
