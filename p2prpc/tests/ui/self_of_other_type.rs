use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(self: std::sync::Arc<Self>); //~ std::sync::Arc<Self> => a method of a service takes `&self`, not a `self` of another type
}
