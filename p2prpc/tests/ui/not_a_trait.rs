use p2prpc::p2p_service;

#[p2p_service]
pub struct Service; //~ struct => `#[p2p_service]` goes on a trait

#[p2p_service]
impl Service {} //~ impl => `#[p2p_service]` goes on a trait

#[p2p_service]
pub fn service() {} //~ fn => `#[p2p_service]` goes on a trait

#[p2p_service]
pub enum Kind {} //~ enum => `#[p2p_service]` goes on a trait

#[p2p_service]
pub mod module {} //~ mod => `#[p2p_service]` goes on a trait
