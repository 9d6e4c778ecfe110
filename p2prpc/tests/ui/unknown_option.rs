use p2prpc::prelude::*;

#[p2p_service(nam = "Echo")] //~ nam => unknown option of `#[p2p_service]`: there are `name = ".."`
pub trait Service {
    async fn method(&self);
}
