use p2prpc::prelude::*;

#[p2p_service(name = "p2prpc-admin")] //~ "p2prpc-admin" => names that begin with `p2prpc-` are p2prpc's own: choose another
pub trait Service {
    async fn method(&self);
}
