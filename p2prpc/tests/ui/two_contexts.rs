use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, cx: &Context, again: &p2prpc::Context); //~ &p2prpc::Context => one `&Context` is enough: there is one for each call
}
