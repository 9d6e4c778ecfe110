use p2prpc::p2p_service;

pub mod own {
    pub struct Result;
}

#[p2p_service]
pub trait Service {
    async fn method(&self) -> own::Result; //~ Result => the trait bound `own::Result: p2prpc::__private::ResultTypes` is not satisfied
    //~^ Result => the trait bound `own::Result: p2prpc::__private::ResultTypes` is not satisfied
    //~^^ method => to be a future that resolves to `Result<_, _>`
}
