use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    const async fn method(&self) {} //~ const => a method of a service cannot be `const`: it runs on another machine
}
