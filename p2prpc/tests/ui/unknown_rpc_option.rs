use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    #[rpc(idempotnet)] //~ idempotnet => unknown option of `#[rpc]`: there are `name = ".."`, `timeout = "60s"`, `max_in_flight = 3`, `rate = "10/s"`, `max_request = "64 KiB"`, `max_reply = "64 KiB"`, `or = "OldName"`, `idempotent` and `spawn`
    async fn method(&self);
}
