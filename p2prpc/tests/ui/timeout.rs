use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    #[rpc(timeout = "a while")] //~ "a while" => `timeout` takes a time, as `"1m 30s"`: expected number at 0
    async fn vague(&self);
    #[rpc(timeout = "0s")] //~ "0s" => `timeout` takes a time, as `"1m 30s"`: no call is answered in no time
    async fn none(&self);
    #[rpc(timeout = 60)] //~ timeout = 60 => `timeout` takes a string: `timeout = ".."`
    async fn number(&self);
}
