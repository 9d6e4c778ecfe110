use p2prpc::prelude::*;

macro_rules! methods {
    () => {};
}

#[p2p_service]
pub trait Service {
    methods!(); //~ methods!(); => a service has methods only: write them out
}
