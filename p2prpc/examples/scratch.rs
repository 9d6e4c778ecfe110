#![allow(missing_docs, missing_debug_implementations, unreachable_pub)]
use std::sync::Arc;
use std::time::{Duration, Instant};
use libp2p::{PeerId, Swarm, SwarmBuilder, futures::StreamExt, noise, tcp, yamux, swarm::SwarmEvent};
use p2prpc::__private::*;
use p2prpc::behaviour::{Behaviour, Config};
use p2prpc::*;

#[derive(serde::Serialize, serde::Deserialize)]
pub struct Args { msg: String }
pub struct Echo;
impl Method for Echo { const NAME: &'static str = "Echo.Echo"; const IDEMPOTENT: bool = false; type Args = Args; type Output = String; type Error = RpcError; }
fn service() -> Service {
    ServiceBuilder::new("Echo", "", Arc::new(())).method(MethodDescriptor { name: "Echo", full_name: "Echo.Echo", docs: "", spawn: false }, |s, incoming| {
        let s = Arc::clone(s);
        infallible(incoming, move |_cx, args: Args| async move { let _ = &s; args.msg })
    }).build()
}
fn swarm() -> Swarm<Behaviour> {
    SwarmBuilder::with_new_identity().with_tokio().with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default).unwrap()
        .with_behaviour(|k| Behaviour::new(k.public().to_peer_id(), Config::new("/bench").unwrap())).unwrap().build()
}
fn main() {
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    rt.block_on(async {
        let mut server = swarm();
        server.behaviour().serve(service()).unwrap();
        let id: PeerId = *server.local_peer_id();
        server.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let addr = loop { if let SwarmEvent::NewListenAddr { address, .. } = server.select_next_some().await { break address } };
        tokio::spawn(async move { loop { server.select_next_some().await; } });
        let mut client = swarm();
        let handle = client.behaviour().handle();
        client.add_peer_address(id, addr);
        tokio::spawn(async move { loop { client.select_next_some().await; } });
        let client = Client::new("Echo", handle).timeout(Duration::from_secs(10));
        let t = Instant::now();
        println!("{:?} first {:?}", client.call::<Echo>(id, Args { msg: "a".repeat(64) }).await.map(|v| v.len()), t.elapsed());
        let only: Option<usize> = std::env::args().nth(1).and_then(|s| s.parse().ok());
        for (size, callers, secs) in [(64usize, 1usize, 2u64), (64, 64, 2), (64, 256, 2), (64, 1024, 2), (1 << 20, 1, 1), (1 << 20, 8, 1), (1<<20, 256, 1)] {
            if only.is_some_and(|o| o != callers) { continue }
            let stop = Instant::now() + Duration::from_secs(secs);
            let t = Instant::now();
            let tasks: Vec<_> = (0..callers).map(|_| { let client = client.clone(); tokio::spawn(async move {
                let mut n = 0u64; let mut lat = Vec::new(); let mut errs = 0u64;
                while Instant::now() < stop {
                    let t = Instant::now();
                    match client.call::<Echo>(id, Args { msg: "a".repeat(size) }).await { Ok(v) => { assert_eq!(v.len(), size); n += 1 } Err(e) => { if errs == 0 { eprintln!("{e}"); } errs += 1 } }
                    if lat.len() < 100000 { lat.push(t.elapsed()); }
                }
                (n, lat, errs)
            })}).collect();
            let mut n = 0; let mut lat = vec![]; let mut errs = 0;
            for t in tasks { let (a, b, c) = t.await.unwrap(); n += a; lat.extend(b); errs += c; }
            let el = t.elapsed().as_secs_f64();
            lat.sort();
            println!("{size} B x{callers}: {:.0}/s {:.0} MiB/s p50 {:?} p99 {:?} errs {errs}", n as f64 / el, n as f64 * size as f64 / el / 1048576.0, lat[lat.len()/2], lat[lat.len()*99/100]);
        }
    });
}
