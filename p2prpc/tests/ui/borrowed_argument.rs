use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, argument: &str); //~ &str => arguments are owned; only `&p2prpc::Context` may be borrowed
}
