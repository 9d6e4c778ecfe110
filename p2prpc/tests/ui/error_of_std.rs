use std::error::Error;
use std::io;

use p2prpc::p2p_service;

#[p2p_service]
pub trait Service {
    async fn boxed(&self, number: u8) -> Result<u8, Box<dyn Error + Send + Sync>>; //~ Box => cannot be the error of a service's method
    async fn io(&self) -> Result<(), io::Error>; //~ io => `std::io::Error` cannot be the error of a service's method
    async fn of_alias(&self) -> io::Result<u8>; //~ Result => `std::io::Error` cannot be the error of a service's method
}
