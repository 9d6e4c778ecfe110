use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self) -> impl Into<String>; //~ impl => the caller must know what comes back: name the type that the method returns
}
