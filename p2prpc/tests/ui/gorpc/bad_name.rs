use p2prpc::p2p_service;

#[p2p_service(gorpc = "")] //~ "" => the name of a service in Go cannot be empty
pub trait Empty {
    async fn method(&self);
}

#[p2p_service(gorpc = "Echo.API")] //~ "Echo.API" => the name of a service in Go is ASCII letters, digits and '_': `Echo.API` has '.' in it
pub trait Dot {}

#[p2p_service(gorpc = "7Up")] //~ "7Up" => the name of a service in Go begins with a letter or '_': `7Up` begins with '7'
pub trait Digit {}
