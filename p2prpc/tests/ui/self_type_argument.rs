use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, argument: Vec<Self>); //~ Self => the caller does not know `Self`: name the type
}
