use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async extern "C" fn method(&self); //~ extern "C" => a method of a service has no ABI of its own: leave `extern` out
}
