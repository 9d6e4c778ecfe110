use p2prpc::p2p_service;

pub struct Plain;

#[p2p_service]
pub trait Service {
    async fn taken(&self, first: u8, plain: Plain, last: String) -> u8; //~ Plain => `Plain` cannot be an argument of a service's method
    async fn in_vec(&self, plain: Vec<Plain>); //~ Vec<Plain> => `Vec<Plain>` cannot be an argument of a service's method
    async fn returned(&self, number: u8) -> Plain; //~ Plain => `Plain` cannot be returned by a service's method
    async fn in_result(&self) -> Result<Plain, String>; //~ Plain => `Plain` cannot be returned by a service's method
}
