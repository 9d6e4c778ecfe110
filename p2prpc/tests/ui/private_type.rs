use p2prpc::__private::serde::{Deserialize, Serialize};
use p2prpc::p2p_service;

#[derive(Serialize, Deserialize)]
#[serde(crate = "p2prpc::__private::serde")]
struct Hidden;

#[p2p_service]
pub trait Service {
    async fn method(&self) -> Hidden; //~ method => private type `Hidden` in public interface
}
