use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self) -> std::borrow::Cow<'_, str>; //~ '_ => what a method returns is owned: the only lifetime here is `'static`
}
