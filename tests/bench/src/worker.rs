//! A process that holds one peer, or one end of it, and measures when it is told to.
//!
//! It is started with the key of a peer and a role: `both`, `serve` or `call ADDRESS`. A server says its address; then each line of
//! JSON is work, and is answered by a line of figures.

use std::io::{BufRead, Write};

use serde_json::json;

use crate::load::{Figures, Work, run};
use crate::peers::{Client, Error, Peer};

/// Be one. `counted` is how many allocations there have been, if they are counted.
///
/// # Errors
/// If the peer can't be started, or what it is told makes no sense.
pub fn main(counted: Option<fn() -> usize>) -> Result<(), Error> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let [key, role @ ..] = &arguments[..] else { return Err("worker PEER both|serve|call".into()) };
    let peer = Peer::of_key(key).ok_or_else(|| format!("no peer is {key}"))?;
    let _server = match role {
        ["both" | "serve"] => Some(runtime.block_on(peer.serve())?),
        _ => None,
    };
    let client = match (role, &_server) {
        (["both"], Some(server)) => Some(runtime.block_on(peer.connect(&server.address))?),
        (["call", address], None) => Some(runtime.block_on(peer.connect(address))?),
        _ => None,
    };
    say(&json!({ "address": _server.as_ref().map(|server| server.address.as_str()) }))?;
    for line in std::io::stdin().lock().lines() {
        let work: Work = serde_json::from_str(&line?)?;
        let client = client.as_ref().ok_or("a server makes no calls")?;
        say(&serde_json::to_value(measure(&runtime, client, work, counted))?)?;
    }
    Ok(())
}

fn measure(runtime: &tokio::runtime::Runtime, client: &Client, work: Work, counted: Option<fn() -> usize>) -> Figures {
    let before = counted.map(|counted| counted());
    let mut figures = runtime.block_on(run(work, &client.echo));
    if let (Some(before), Some(counted)) = (before, counted) {
        let calls = figures.calls_per_s * work.time.as_secs_f64();
        figures.allocs_per_call = Some((counted() - before) as f64 / calls.max(1.0));
    }
    figures
}

fn say(line: &serde_json::Value) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
