//! What a hostile peer costs in memory and in processor time. These tests are alone in their process, one at a time.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use p2prpc::wire::Frame;
use p2prpc_tests::LONG;
use p2prpc_tests::hostile::{
    Got, PROTOCOL, Probe, RawPeer, Scene, TargetClient, TargetServer, Victim, encoded, processor_time, request,
    resident,
};
use p2prpc_tests::programs::Program;
use tokio::sync::{Mutex, MutexGuard};

const MIB: usize = 1 << 20;

async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: OnceLock<Mutex<()>> = OnceLock::new();
    ALONE.get_or_init(Mutex::default).lock().await
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_thousand_announced_bodies_that_never_come_cost_next_to_nothing() {
    let _alone = alone().await;
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    let before = resident();
    for id in 1..=1000 {
        stream.send_bytes(&request(id, "Target.Echo", None, 4 << 20, &[1; 100])).await;
    }
    while !matches!(stream.next().await, Some(Got::Error { id: 1000, .. })) {}
    settle().await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 8 * MIB, "{} KiB", grown >> 10);
    drop(stream);
    scene.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_large_answers_that_are_not_read_cost_no_more_than_their_share() {
    let _alone = alone().await;
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    let before = resident();
    // All are under way before the first has its answer: 1.2 GiB.
    let args = encoded(&((4_u32 << 20) - 100, 500_u64));
    let requests: Vec<u8> =
        (1..=300).flat_map(|id| request(id, "Target.Big", None, args.len() as u64, &args)).collect();
    stream.send_bytes(&requests).await;
    let mut most = 0;
    while scene.victim.count().started() < 300 || scene.victim.count().alive() > 0 {
        most = most.max(resident().saturating_sub(before));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    settle().await;
    most = most.max(resident().saturating_sub(before));
    // 64 MiB on their way, 64 MiB that wait, and what is made at the moment.
    assert!(most < 224 * MIB, "{} MiB", most >> 20);
    drop(stream);
    scene.is_unharmed().await;
}

#[tokio::test]
async fn hostile_peers_that_come_and_go_leave_nothing() {
    let _alone = alone().await;
    let victim = Victim::start(p2prpc::Limits::default()).await;
    let mut before = 0;
    for n in 0..120 {
        let mut raw = RawPeer::start().await;
        raw.connect(victim.address()).await;
        let mut stream = raw.open(victim.id()).await.expect("the victim takes a stream");
        stream.hello().await;
        stream.call(1, "Target.Wait", &()).await;
        stream.call(2, "Target.Big", &(300_000_u32, 1_u64)).await;
        stream.send_bytes(&request(3, "Target.Echo", None, 1 << 20, &[7; 60_000])).await;
        match n % 3 {
            0 => stream.send_bytes(&[0xff; 100]).await,
            1 => stream.send(Frame::Cancel { id: 1 }).await,
            _ => {}
        }
        drop(stream);
        drop(raw);
        if n == 40 {
            settle().await;
            before = resident();
        }
    }
    while victim.count().alive() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    settle().await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 8 * MIB, "{} KiB in 80 rounds", grown >> 10);
    let (peers, calls) =
        victim.look(|swarm| (swarm.connected_peers().count(), swarm.behaviour().calls_in_flight())).await;
    assert_eq!((peers, calls), (0, 0));
}

#[tokio::test]
async fn streams_on_which_nothing_happens_cost_no_time() {
    let _alone = alone().await;
    let victim = Victim::start(p2prpc::Limits::default()).await;
    let mut raw = RawPeer::start().await;
    raw.connect(victim.address()).await;
    victim.knows(&raw).await;
    // One that only listens, one whose calls wait, one in the middle of a frame, one whose answers aren't read, and a call
    // of the victim's own that is never answered.
    let mut idle = raw.open(victim.id()).await.expect("the victim takes a stream");
    idle.hello().await;
    idle.call(1, "Target.Wait", &()).await;
    idle.send_bytes(&[100, 2]).await;
    let mut stalled = raw.open(victim.id()).await.expect("the victim takes a stream");
    stalled.hello().await;
    for id in 1..=100 {
        stalled.call(id, "Target.Big", &(1_000_000_u32, 100_u64)).await;
    }
    let call = victim.client().timeout(Duration::from_secs(60)).peer(raw.id()).echo("x".repeat(3 << 20));
    let call = tokio::spawn(call);
    let mut called = raw.accept().await;
    called.hello().await;
    while victim.count().started() < 101 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, began) = (processor_time(), Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = processor_time().saturating_sub(before);
    assert!(used < began.elapsed() / 20, "{used:?} in {:?}", began.elapsed());
    call.abort();
}

/// The other end of [`crowd`]: a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is started by another test"]
async fn many_connect_and_do_nothing() {
    let Ok(to) = std::env::var("CONNECT_TO") else { return };
    let connections: usize = std::env::var("CONNECTIONS").expect("how many").parse().expect("a number");
    let mut nodes = Vec::new();
    for _ in 0..connections {
        let node = p2prpc::Node::builder().protocol(PROTOCOL).listen("/ip4/127.0.0.1/tcp/0").start().await;
        let node = node.expect("a node starts");
        let there = node.connect(to.as_str()).await.expect("it connects");
        // Its call stream keeps the connection.
        TargetClient::new(&node).peer(there).echo("hello".into()).await.expect("it is answered");
        nodes.push(node);
    }
    println!("connected");
    std::future::pending::<()>().await;
}

/// So many nodes in another process, each with a connection to this address.
async fn crowd(connections: usize, to: &str) -> Program {
    let mut crowd = std::process::Command::new(std::env::current_exe().expect("this program is a file"));
    crowd.args(["--exact", "many_connect_and_do_nothing", "--ignored", "--nocapture"]);
    crowd.env("CONNECT_TO", to).env("CONNECTIONS", connections.to_string());
    let crowd = Program::start(crowd);
    let said = crowd.out.clone();
    let connected =
        tokio::task::spawn_blocking(move || said.find(0, LONG, |line| line.contains("connected").then_some(())));
    assert!(connected.await.expect("it doesn't panic").is_some(), "they don't connect: {crowd}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    crowd
}

/// What one more connection with an idle call stream takes of this process, in bytes.
async fn cost_of_a_connection(listen: &str) -> usize {
    const MORE: usize = 40;
    let node = p2prpc::Node::builder().protocol(PROTOCOL).listen(listen).serve(TargetServer::new(Probe::default()));
    let node = node.start().await.expect("a node starts");
    let address = node.addresses().into_iter().next().expect("it listens").to_string();
    // What is taken once, for all connections, is taken first.
    let _first = crowd(10, &address).await;
    let before = resident();
    let _more = crowd(MORE, &address).await;
    resident().saturating_sub(before) / MORE
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_quic_connection_costs_little() {
    let _alone = alone().await;
    let cost = cost_of_a_connection("/ip4/127.0.0.1/udp/0/quic-v1").await;
    eprintln!("an idle connection by QUIC takes {} KiB", cost >> 10);
    assert!(cost < 192 << 10, "{cost} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_tcp_connection_costs_little() {
    let _alone = alone().await;
    let cost = cost_of_a_connection("/ip4/127.0.0.1/tcp/0").await;
    eprintln!("an idle connection by TCP takes {} KiB", cost >> 10);
    assert!(cost < 96 << 10, "{cost} bytes");
}
