use p2prpc::prelude::*;

#[p2p_service(nam = "Echo")] //~ nam => unknown option of `#[p2p_service]`
pub trait Service<T> { //~ <T> => a service cannot be generic
    const LIMIT: u8; //~ const => a service has methods only
    fn one(&self, argument: &str); //~ fn => a method of a service is an `async fn`
    //~^ &str => arguments are owned
    async fn two(self, _: u8) -> &'static str; //~ self => calls share their service
    //~^ _ => an argument has a plain name, not a pattern
    //~^^ & => what a method returns is owned
}
