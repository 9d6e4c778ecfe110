//! A log that is followed from elsewhere: streams to a caller, from a caller, and of all members.

use std::time::Duration;

use p2prpc::prelude::*;
use tokio::sync::watch;

#[p2p_service]
trait Log {
    /// The lines from this one on, and each new one when it is written.
    async fn tail(&self, from: usize) -> Result<impl Stream<Item = String>, String>;

    /// Write lines, as they come; gives how many there are then.
    async fn append(&self, lines: Streaming<String>) -> usize;
}

struct Memory(watch::Sender<Vec<String>>);

impl Log for Memory {
    async fn tail(&self, from: usize) -> Result<impl Stream<Item = String>, String> {
        let lines = self.0.subscribe();
        if from > lines.borrow().len() {
            return Err(format!("there is no line {from} yet"));
        }
        Ok(futures::stream::unfold((lines, from), |(mut lines, at)| async move {
            let line = lines.wait_for(|lines| lines.len() > at).await.ok()?[at].clone();
            Some((line, (lines, at + 1)))
        }))
    }

    async fn append(&self, mut lines: Streaming<String>) -> usize {
        while let Some(Ok(line)) = lines.next().await {
            self.0.send_modify(|lines| lines.push(line));
        }
        self.0.borrow().len()
    }
}

async fn node(known: Vec<Multiaddr>) -> Result<Node, p2prpc::StartError> {
    let log = Memory(watch::Sender::new(vec!["started".into()]));
    let node = Node::builder().listen("/ip4/127.0.0.1/tcp/0").rendezvous("readme/log").bootstrap(known);
    node.serve(LogServer::new(log)).start().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let first = node(Vec::new()).await?;
    let second = node(first.addresses()).await?;
    let logs = LogClient::new(&second);
    logs.wait_for(1).await?;
    let log = logs.peer(first.peer_id());

    // The stream is there at once; its items come as they are sent.
    let mut tail = log.tail(0);

    // Any stream can be sent. It is taken as fast as the handler takes it.
    let lines = futures::stream::iter(["one", "two", "three"].map(String::from));
    assert_eq!(log.append(lines).await?, 4);

    for expected in ["started", "one", "two", "three"] {
        let line = tail.next().await.ok_or("a log that is followed has no end")??;
        assert_eq!(line, expected);
        println!("{line}");
    }
    drop(tail); // and the handler with it

    // A method may fail before the first item.
    match log.tail(100).next().await {
        Some(Err(CallError::Application(error))) => println!("{error}"),
        other => println!("{other:?}?"),
    }

    // The logs of all members, also of those that join later, each item with the peer it is of.
    let mut all = logs.all().tail(0).follow_members();
    let third = node(first.addresses()).await?;
    let mut started = 0;
    while started < 2 {
        let next = tokio::time::timeout(Duration::from_secs(30), all.next()).await?;
        let Some((peer, line)) = next else { break };
        match line {
            Some(Ok(line)) if line == "started" => started += 1,
            Some(Ok(_)) => {}
            Some(Err(error)) => println!("{error}"),
            None => println!("{peer} has ended its log"),
        }
    }
    println!("{started} logs");
    drop(third);
    Ok(())
}
