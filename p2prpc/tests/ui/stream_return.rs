use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn unnamed(&self) -> impl Stream; //~ impl Stream => name the type of the items
    async fn taken(&self) -> Streaming<u8>; //~ Streaming => a method gives a stream as `impl Stream<Item = T>`
    async fn borrowed(&self) -> impl Stream<Item = &'static str>; //~ & => what a method returns is owned
    async fn within(&self) -> Option<impl Stream<Item = u8>>; //~ impl => the caller must know what comes back
}
