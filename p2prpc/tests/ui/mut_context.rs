use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, cx: &mut Context); //~ mut => the context is read only: write `&Context`
}
