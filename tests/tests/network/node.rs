//! The program that runs on a host: a node that is told what to do by lines on its standard input, and says what happens as lines of JSON.

use std::fmt::Display;
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use p2prpc::ConnectionInfo;
use p2prpc::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::MissedTickBehavior;

/// What all nodes of a lab meet at.
pub(crate) const RENDEZVOUS: &str = "lab";

/// What nodes on different hosts call.
#[p2p_service]
pub(crate) trait Host {
    /// The name of the program that answers.
    async fn name(&self) -> String;
    /// Says nothing for so long.
    async fn rest(&self, millis: u64) -> u64;
}

struct Named(String);

impl Host for Named {
    async fn name(&self) -> String {
        self.0.clone()
    }

    async fn rest(&self, millis: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        millis
    }
}

/// A node that serves as `name`.
pub(crate) fn named(name: &str) -> p2prpc::NodeBuilder {
    Node::builder().serve(HostServer::new(Named(name.to_owned())))
}

/// Milliseconds, by a clock that all programs of a machine share.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
    now.as_millis().try_into().expect("they fit for ever")
}

/// Runs `program` and gives what it returns, with logs on the standard error.
pub(crate) fn run(program: impl Future<Output = Result<(), String>>) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.expect("a runtime can be made").block_on(program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A line of JSON with the time.
pub(crate) fn say(event: &str, mut fields: Value) {
    fields["event"] = json!(event);
    fields["at"] = json!(now());
    println!("{fields}");
}

/// `--name a --listen ADDRESS --bootstrap ADDRESS --seed 7 --rendezvous`: a node, until its standard input ends.
pub(crate) async fn node(arguments: Vec<String>) -> Result<(), String> {
    let mut builder = Node::builder();
    let mut arguments = arguments.into_iter();
    while let Some(option) = arguments.next() {
        if option == "--rendezvous" {
            builder = builder.rendezvous(RENDEZVOUS);
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{option} has no value"))?;
        builder = match option.as_str() {
            "--name" => builder.serve(HostServer::new(Named(value))),
            "--listen" => builder.listen(value),
            "--bootstrap" => builder.bootstrap([value]),
            "--seed" => builder.identity(Identity::from_seed(value.parse().map_err(|_| "a seed is a number")?)),
            _ => return Err(format!("{option} is no option")),
        };
    }
    let node = builder.start().await.map_err(|error| error.to_string())?;
    let events = node.events();
    say("started", json!({"peer": node.peer_id().to_string(), "addresses": addresses(&node)}));
    tokio::spawn(events.for_each(async |event| {
        let text = format!("{event:?}");
        let kind = text.split([' ', '(']).next().unwrap_or_default().to_owned();
        say("node", json!({"kind": kind, "text": text}));
    }));
    obey(Arc::new(node)).await
}

fn addresses(node: &Node) -> Vec<String> {
    node.addresses().iter().map(Multiaddr::to_string).collect()
}

/// Does what lines on the standard input say. A question's first word is a number, which its answer has too.
async fn obey(node: Arc<Node>) -> Result<(), String> {
    let client = HostClient::new(&*node);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mut words = words.iter().map(String::as_str);
        let (Some(question), Some(what)) = (words.next(), words.next()) else { continue };
        let question: u64 = parsed(question)?;
        let mut rest = words.map(str::to_owned);
        let mut word = || rest.next().ok_or_else(|| format!("{line}: too short"));
        match what {
            "members" => {
                let members: Vec<String> = node.members().keys().map(PeerId::to_string).collect();
                say("answer", json!({"question": question, "members": members}));
            }
            "connections" => {
                let peer = parsed(&word()?)?;
                let connections = node.connections().remove(&peer).unwrap_or_default();
                let connections: Vec<Value> = connections.iter().map(connection).collect();
                say("answer", json!({"question": question, "connections": connections}));
            }
            "usage" => say("answer", usage(question)),
            "connect" => {
                let (node, address) = (node.clone(), word()?);
                tokio::spawn(async move {
                    let error = node.connect(address).await.err().map(|error| error.to_string());
                    say("answer", json!({"question": question, "error": error}));
                });
            }
            "rest" => {
                let (client, peer) = (client.clone(), parsed(&word()?)?);
                let (rest, timeout) = (parsed(&word()?)?, millis(&word()?)?);
                tokio::spawn(async move {
                    let error = client.peer(peer).rest(rest).timeout(timeout).await.err();
                    say("answer", json!({"question": question, "error": error.map(|error| error.to_string())}));
                });
            }
            "watch" => {
                let peer = parsed(&word()?)?;
                tokio::spawn(watch(client.clone(), peer, millis(&word()?)?, millis(&word()?)?));
            }
            _ => return Err(format!("{line}: what is that?")),
        }
    }
    // Whoever asked is gone. Nobody is told goodbye.
    std::process::exit(0)
}

fn connection(connection: &ConnectionInfo) -> Value {
    json!({
        "address": connection.address.to_string(),
        "age": connection.age.as_millis(),
        "silent": connection.silent_for.as_millis(),
        "suspected": connection.suspected,
        "carries": connection.carries_calls,
    })
}

/// Calls a peer again and again, without waiting for answers.
async fn watch(client: HostClient, peer: PeerId, every: Duration, timeout: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let call = client.peer(peer).name().timeout(timeout);
        tokio::spawn(async move {
            let begun = now();
            let (name, error) = match call.await {
                Ok(name) => (Some(name), None),
                Err(error) => (None, Some(format!("{:?}: {error}", error.kind()))),
            };
            let to = peer.to_string();
            say("call", json!({"to": to, "begun": begun, "name": name, "error": error}));
        });
    }
}

/// File descriptors, and memory in kB.
fn usage(question: u64) -> Value {
    let descriptors = std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or_default();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    json!({"question": question, "descriptors": descriptors, "memory": memory.unwrap_or(0_u64)})
}

pub(crate) fn parsed<T: std::str::FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

pub(crate) fn millis(text: &str) -> Result<Duration, String> {
    parsed(text).map(Duration::from_millis)
}

/// Nodes that come, call the node at an address, and go, one half of them without a word, for ever: `ADDRESS LISTEN`.
pub(crate) async fn crowd(arguments: Vec<String>) -> Result<(), String> {
    let [address, listen] = &arguments[..] else { return Err("an address and where to listen".into()) };
    say("started", json!({"peer": "", "addresses": []}));
    let mut met = 0;
    loop {
        let guests = (0..4).map(|n| guest(address, listen, n % 2 == 0));
        met += futures::future::join_all(guests).await.into_iter().filter(|met| *met).count();
        say("crowd", json!({"met": met}));
    }
}

/// True if it was answered.
async fn guest(address: &str, listen: &str, polite: bool) -> bool {
    let builder = named("guest").listen(listen).rendezvous(RENDEZVOUS).bootstrap([address]);
    let node = builder.start().await.expect("it can start");
    let host: Multiaddr = address.parse().expect("an address");
    let host = host.iter().find_map(|part| match part {
        p2prpc::libp2p::multiaddr::Protocol::P2p(peer) => Some(peer),
        _ => None,
    });
    let call = HostClient::new(&node).peer(host.expect("it names its peer")).name();
    // It may be dialled later than it is called.
    let met = tokio::time::timeout(Duration::from_secs(5), node.wait_for_members(1)).await.is_ok();
    let answered = met && call.await.is_ok();
    if polite {
        node.shutdown(Duration::ZERO).await;
    }
    answered
}
