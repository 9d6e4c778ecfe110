use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    #[rpc(or = "Same")] //~ "Same" => the older name is the name
    async fn same(&self);
    #[rpc(or = "not a name")] //~ "not a name" => a name on the wire is printable ASCII
    async fn other(&self);
    #[rpc(or = "Items")] //~ "Items" => a streaming method has one name
    async fn stream(&self) -> impl Stream<Item = u8>;
}
