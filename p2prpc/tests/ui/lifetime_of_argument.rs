use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, argument: std::borrow::Cow<'_, str>); //~ '_ => arguments are owned: the only lifetime here is `'static`
}
