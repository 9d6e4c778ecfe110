use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    type Output; //~ type => a service has methods only: name the type itself where the methods use it
}
