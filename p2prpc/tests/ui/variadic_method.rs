use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, arguments: ...); //~ arguments: ... => a method of a service cannot be variadic: take a `Vec`
}
