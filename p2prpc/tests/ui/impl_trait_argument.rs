use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, argument: impl Into<String>); //~ impl => `impl Trait` makes a method generic: name the type of the argument
}
