use p2prpc::__private::serde::{Deserialize, Serialize};
use p2prpc::p2p_service;

#[derive(Debug, Serialize, Deserialize)]
#[serde(crate = "p2prpc::__private::serde")]
pub enum Broken {
    Badly,
}

#[p2p_service]
pub trait Service {
    async fn method(&self) -> Result<u8, Broken>; //~ Broken => `Broken` cannot be the error of a service's method
}
