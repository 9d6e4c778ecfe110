use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, Context { .. }: &Context); //~ Context { .. } => the context is taken by a plain name, or `_`
}
