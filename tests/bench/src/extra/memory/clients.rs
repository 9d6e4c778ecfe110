//! The peers that are connected to the hub, and what they do there.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use p2prpc::prelude::*;
use serde_json::{Value, json};

use super::super::bare::company::Peer;
use super::super::child::Process;
use super::super::nodes::{self, Carrier, Dht, EchoServiceClient};
use super::super::{Error, files};
use super::{CALLS, Kind, heap};

/// What a start, a connection or a call brings with it is over by then. A connection that nothing uses lasts 10 s.
const SETTLE: Duration = Duration::from_millis(2500);
const TIMEOUT: Duration = Duration::from_secs(60);

/// The heaps of both processes at one moment.
struct Heaps {
    server: i64,
    client: i64,
}

impl Heaps {
    async fn now(hub: &mut Process) -> Result<Self, Error> {
        tokio::time::sleep(SETTLE).await;
        let server = hub.ask().await?["heap"].as_i64().ok_or("the hub doesn't say what is on its heap")?;
        Ok(Heaps { server, client: heap::live()? })
    }

    /// What came since then, for each of so many.
    fn since(&self, before: &Heaps, count: usize) -> Value {
        let each = |now: i64, before: i64| (now - before) as f64 / count.max(1) as f64;
        json!({ "server": each(self.server, before.server), "client": each(self.client, before.client) })
    }
}

/// Measures one kind of peers, and says on the standard output what came of it.
pub(crate) async fn child(kind: &str, connections: usize) -> Result<(), Error> {
    files::allow_many();
    let kind = Kind::named(kind)?;
    let mut hub = Process::start(&["hub", kind.name()])?;
    let address: Multiaddr = hub.hear().await?.as_str().ok_or("the hub doesn't say where it is")?.parse()?;
    let measured = match kind {
        Kind::P2prpc => p2prpc(&mut hub, &address, connections).await?,
        Kind::Bare => bare(&mut hub, &address, connections).await?,
    };
    println!("{measured}");
    Ok(())
}

async fn p2prpc(hub: &mut Process, address: &Multiaddr, connections: usize) -> Result<Value, Error> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(nodes::client(Carrier::Tcp, Dht::Apart).await?);
    }
    let alone = Heaps::now(hub).await?;
    let mut stubs = Vec::with_capacity(connections);
    for client in &clients {
        let peer = client.connect(address.clone()).await?;
        stubs.push((client, peer));
    }
    let connected = Heaps::now(hub).await?;
    let memory = hub.ask().await?;
    for (client, peer) in &stubs {
        EchoServiceClient::new(*client).timeout(TIMEOUT).peer(*peer).echo(String::new()).await?;
    }
    let called = Heaps::now(hub).await?;
    let calls = calls(hub, &stubs, &called).await?;
    Ok(json!({
        "connected": connected.since(&alone, connections), "called": called.since(&alone, connections), "calls": calls,
        "hub": memory,
    }))
}

/// What a call takes at each end that its handler doesn't answer.
async fn calls(hub: &mut Process, stubs: &[(&Node, PeerId)], before: &Heaps) -> Result<Value, Error> {
    let (client, peer) = stubs.first().ok_or("nobody is connected")?;
    let stub = EchoServiceClient::new(*client).timeout(TIMEOUT).peer(*peer);
    // A body of two bytes. The calls themselves count, and nothing that a program would keep them in.
    let mut pending: Vec<_> = (0..CALLS).map(|_| stub.echo("x".into())).collect();
    let ended = poll_fn(|cx| match pending.iter_mut().any(|call| call.poll_unpin(cx).is_ready()) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    });
    let under_way = tokio::select! {
        () = ended => return Err("a call ended that was to stay under way".into()),
        heaps = Heaps::now(hub) => heaps?,
    };
    Ok(under_way.since(before, CALLS))
}

async fn bare(hub: &mut Process, address: &Multiaddr, connections: usize) -> Result<Value, Error> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(Peer::start(Carrier::Tcp, Dht::Apart).await?);
    }
    let alone = Heaps::now(hub).await?;
    for client in &clients {
        client.connect(address.clone()).await?;
    }
    let connected = Heaps::now(hub).await?;
    let memory = hub.ask().await?;
    Ok(json!({ "connected": connected.since(&alone, connections), "hub": memory }))
}
