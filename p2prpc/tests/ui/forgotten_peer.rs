use p2prpc::prelude::*;

#[p2p_service]
pub trait Greeter {
    async fn greet(&self, name: String) -> Result<String, String>;
    async fn timeout(&self) -> u8;
    async fn clone(&self, number: u8) -> u8;
    async fn nothing(&self);
}

pub async fn greet(client: GreeterClient) -> Result<String, CallError<String>> {
    let greeting = client.greet("Ada".into()).await?; //~ greet => a client calls a method at a peer: `client.peer(id).method(..)`
    let same = client.clone();
    same.nothing().await.unwrap(); //~ nothing => a client calls a method at a peer: `client.peer(id).method(..)`
    Ok(greeting)
}
