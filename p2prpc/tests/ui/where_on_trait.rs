use p2prpc::p2p_service;

#[p2p_service]
pub trait Service
where Self: Sized //~ where Self: Sized => a service cannot have a `where` clause
{
    async fn method(&self);
}
