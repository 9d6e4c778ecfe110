//! Over TCP alone.

use tokio::net::{TcpListener, TcpStream};

use super::super::{Client, Error, Server};

pub(in crate::peers) async fn serve() -> Result<Server, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if stream.set_nodelay(true).is_ok() {
                super::answer(stream, false);
            }
        }
    });
    Ok(Server { address, keep: Box::new(task) })
}

pub(in crate::peers) async fn connect(address: &str) -> Result<Client, Error> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Client { echo: super::call(stream), keep: Box::new(()) })
}
