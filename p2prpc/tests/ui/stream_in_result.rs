use p2prpc::prelude::*;

type Result<T> = std::result::Result<T, String>;

#[p2p_service]
pub trait Service {
    async fn method(&self) -> Result<impl Stream<Item = u8>>; //~ Result<impl Stream<Item = u8>> => write both types of the `Result` out
}
