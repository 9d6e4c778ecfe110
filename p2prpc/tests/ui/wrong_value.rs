use p2prpc::p2p_service;

#[p2p_service(name = 5)] //~ name = 5 => `name` takes a string: `name = ".."`
pub trait Number {}

#[p2p_service(name)] //~ name => `name` takes a string: `name = ".."`
pub trait Nothing {}

#[p2p_service(crate = "not a path")] //~ "not a path" => `crate` takes the path of the library: `crate = "my::reexport::p2prpc"`
pub trait Path {}

#[p2p_service]
pub trait Flag {
    #[rpc(spawn = true)] //~ spawn = true => `spawn` takes no value: `#[rpc(spawn)]`
    async fn method(&self);
}
