use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, argument: Option<&str>); //~ & => arguments are owned; only `&p2prpc::Context` may be borrowed
}
