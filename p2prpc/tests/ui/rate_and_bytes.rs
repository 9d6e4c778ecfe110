use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    #[rpc(rate = "often")] //~ "often" => `rate` takes calls in a time
    async fn often(&self);
    #[rpc(rate = "0/s")] //~ "0/s" => `rate` takes calls in a time
    async fn never(&self);
    #[rpc(max_request = "0 B")] //~ "0 B" => a length in bytes is written as `"64 KiB"`, and is not 0
    async fn empty(&self);
    #[rpc(max_reply = "large")] //~ "large" => a length in bytes is written as
    async fn large(&self);
}
