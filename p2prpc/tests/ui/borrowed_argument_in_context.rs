use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, cx: Option<&Context>); //~ & => arguments are owned; only `&p2prpc::Context` may be borrowed
}
