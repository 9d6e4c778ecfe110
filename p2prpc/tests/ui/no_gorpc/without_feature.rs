use p2prpc::p2p_service;

#[p2p_service(gorpc = "EchoAPI")] //~ gorpc => `gorpc` needs the feature `gorpc` of p2prpc: turn it on in Cargo.toml
pub trait Service {}

#[p2p_service(go = "Echo")] //~ go => unknown option of `#[p2p_service]`: there are `name = ".."` and `crate = ".."`
pub trait Unknown {}
