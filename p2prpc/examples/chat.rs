//! A room in which all hear what one says: a stream each way.

use futures::stream;
use p2prpc::prelude::*;
use tokio::sync::broadcast;

#[p2p_service]
trait Room {
    /// Say lines, and hear those of all others.
    async fn enter(&self, name: String, lines: Streaming<String>) -> impl Stream<Item = String>;
}

struct Hall(broadcast::Sender<(String, String)>);

impl Room for Hall {
    async fn enter(&self, name: String, lines: Streaming<String>) -> impl Stream<Item = String> {
        let (room, own) = (self.0.clone(), name.clone());
        let heard = stream::unfold(room.subscribe(), |mut lines| async move {
            loop {
                match lines.recv().await {
                    Ok(line) => return Some((line, lines)),
                    // Whoever is too slow misses some.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let _ = room.send((name.clone(), "hello".into()));
        let said = lines.map(move |line| {
            // Nobody may be there to hear it.
            let _ = room.send((name.clone(), line.unwrap_or_else(|_| "(is gone)".into())));
            None
        });
        // As long as its caller speaks it hears, and a little of both at a time.
        let heard = heard.map(move |(who, line)| (who != own).then(|| format!("{who}: {line}")));
        stream::select(said, heard).filter_map(std::future::ready)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (room, _) = broadcast::channel(64);
    let builder = Node::builder().listen("/ip4/127.0.0.1/tcp/0").serve(RoomServer::new(Hall(room)));
    let host = builder.start().await?;
    let (ada, ben) = (Node::builder().start().await?, Node::builder().start().await?);
    for guest in [&ada, &ben] {
        guest.connect(host.addresses().pop().ok_or("the host listens nowhere")?).await?;
    }
    let enter = |guest: &Node, name: &str| RoomClient::new(guest).peer(host.peer_id()).enter(name.into());

    // Both halves, each for a task of its own.
    let (mut ada_says, mut ada_hears) = enter(&ada, "Ada").into_split();
    ada_says.send("is anybody here?".into()).await?;

    let (mut ben_says, mut ben_hears) = enter(&ben, "Ben").into_split();
    ben_says.send("I am".into()).await?;

    for expected in ["Ben: hello", "Ben: I am"] {
        let line = ada_hears.next().await.ok_or("the room is closed")??;
        assert_eq!(line, expected);
        println!("Ada hears {line}");
    }
    ada_says.send("good".into()).await?;
    loop {
        let line = ben_hears.next().await.ok_or("the room is closed")??;
        println!("Ben hears {line}");
        if line == "Ada: good" {
            break;
        }
    }
    Ok(())
}
