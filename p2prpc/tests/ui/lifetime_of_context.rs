use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, cx: &'static Context); //~ 'static => the context is borrowed for the call: write `&Context`, without a lifetime
}
