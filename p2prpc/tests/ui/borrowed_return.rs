use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self) -> &str; //~ & => what a method returns is owned: it travels to the caller
}
