use p2prpc::p2p_service;

#[p2p_service(gorpc = 5)] //~ gorpc = 5 => `gorpc` takes a string: `gorpc = ".."`
pub trait Number {}

#[p2p_service(gorpc)] //~ gorpc => `gorpc` takes a string: `gorpc = ".."`
pub trait Nothing {}

#[p2p_service(gorpc = "One", gorpc = "Two")] //~ gorpc = "Two" => `gorpc` is given twice
pub trait Twice {}

#[p2p_service(go = "Echo")] //~ go => unknown option of `#[p2p_service]`: there are `name = ".."`, `gorpc = ".."` and `crate = ".."`
pub trait Unknown {}
