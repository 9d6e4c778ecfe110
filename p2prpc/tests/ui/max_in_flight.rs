use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    #[rpc(max_in_flight = 0)] //~ max_in_flight = 0 => `max_in_flight` takes a number from 1 on: `max_in_flight = 3`
    async fn none(&self);
    #[rpc(max_in_flight = "3")] //~ max_in_flight = "3" => `max_in_flight` takes a number from 1 on: `max_in_flight = 3`
    async fn text(&self);
}
