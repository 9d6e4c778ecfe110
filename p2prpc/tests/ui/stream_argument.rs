use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn given(&self, numbers: impl Stream<Item = u8>); //~ impl Stream<Item = u8> => a method takes a stream as `Streaming<T>`
    async fn within(&self, numbers: Option<Streaming<u8>>); //~ Streaming => `Streaming<T>` is an argument by itself
    async fn twice(&self, one: Streaming<u8>, other: Streaming<u8>); //~ Streaming<u8> => one stream is enough
    async fn borrowed(&self, numbers: Streaming<&'static str>); //~ & => arguments are owned
}
