//! Peers that try to take what is there for all: room for records, for bytes, for calls, for handshakes, for connections,
//! and our own dials. These tests are alone in their process, one at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use p2prpc::prelude::*;
use p2prpc::wire::{Frame, GoAwayReason, encode};
use p2prpc::{Limits, NodeBuilder};
use p2prpc_tests::hostile::{
    Got, PROTOCOL, Probe, RawPeer, RawStream, Scene, TargetClient, TargetServer, Victim, encoded, request, resident,
    varint,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, MutexGuard};

const MIB: usize = 1 << 20;
const KAD: &str = "/ipfs/kad/1.0.0";
const ADD_PROVIDER: u8 = 2;
const FIND_NODE: u8 = 4;

async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: OnceLock<Mutex<()>> = OnceLock::new();
    ALONE.get_or_init(Mutex::default).lock().await
}

fn builder() -> NodeBuilder {
    Node::builder().protocol(PROTOCOL).listen("/ip4/127.0.0.1/tcp/0").serve(TargetServer::new(Probe::default()))
}

fn address(node: &Node) -> Multiaddr {
    node.addresses().into_iter().next().expect("it listens")
}

fn socket(node: &Node) -> SocketAddr {
    let address = address(node);
    let port = address.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
    SocketAddr::from(([127, 0, 0, 1], port.expect("a TCP port")))
}

fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat()
}

fn peer(id: PeerId, addresses: &[Multiaddr]) -> Vec<u8> {
    let addresses = addresses.iter().flat_map(|address| field(2, &address.to_vec()));
    field(1, &id.to_bytes()).into_iter().chain(addresses).collect()
}

/// A message of Kademlia's, with its length before it.
fn message(kind: u8, fields: &[u8]) -> Vec<u8> {
    let message = [&[1 << 3, kind][..], fields].concat();
    [varint(message.len() as u64), message].concat()
}

/// An honest caller of its own.
async fn echoes(node: &Node) {
    let caller = builder().start().await.expect("a node starts");
    let met = tokio::time::timeout(Duration::from_secs(10), caller.connect(address(node))).await;
    met.expect("a newcomer connects in time").expect("a newcomer is let in");
    let stub = TargetClient::new(&caller).timeout(Duration::from_secs(5)).peer(node.peer_id());
    for _ in 0..10 {
        assert_eq!(stub.echo("honest".into()).await.expect("an honest call"), "honest");
    }
    caller.shutdown(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provider_records_under_huge_keys_are_not_kept() {
    let _alone = alone().await;
    let node = builder().start().await.expect("a node starts");
    let before = resident();
    for n in 0..3_u32 {
        let mut raw = RawPeer::speaking(KAD).await;
        raw.connect(&address(&node)).await;
        let mut stream = raw.open(node.peer_id()).await.expect("it speaks Kademlia");
        for record in 0..60_u32 {
            let mut key = vec![7; 500_000];
            key[..8].copy_from_slice(&[n.to_be_bytes(), record.to_be_bytes()].concat());
            let provider = peer(raw.id(), &[raw.address()]);
            stream.send_bytes(&message(ADD_PROVIDER, &[field(2, &key), field(9, &provider)].concat())).await;
        }
        stream.send_bytes(&message(FIND_NODE, &field(2, &raw.id().to_bytes()))).await;
        assert!(!stream.bytes_until(|bytes| !bytes.is_empty()).await.is_empty(), "it still answers");
    }
    let grown = resident().saturating_sub(before);
    eprintln!("90 MB of keys: {} MiB more", grown / MIB);
    assert!(grown < 24 * MIB, "{} MiB", grown / MIB);
    echoes(&node).await;
}

async fn crowd(scene: &Scene, peers: usize, each: impl AsyncFn(&mut RawStream)) -> Vec<(RawPeer, RawStream)> {
    let mut crowd = Vec::new();
    for _ in 0..peers {
        let mut raw = RawPeer::start().await;
        raw.connect(scene.victim.address()).await;
        let mut stream = raw.open(scene.victim.id()).await.expect("the victim takes a stream");
        stream.hello().await;
        each(&mut stream).await;
        crowd.push((raw, stream));
    }
    crowd
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_announced_by_many_take_no_room_from_others() {
    let _alone = alone().await;
    let scene = Scene::start().await;
    let crowd = crowd(&scene, 20, async |stream| {
        for id in 1..=16 {
            stream.send_bytes(&request(id, "Target.Echo", None, 4 << 20, &[1])).await;
        }
    })
    .await;
    scene.honest.is_served().await;
    drop(crowd);
    scene.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_never_whole_take_no_place_from_others() {
    let _alone = alone().await;
    let scene = Scene::start().await;
    let crowd = crowd(&scene, 17, async |stream| {
        let half: Vec<u8> = (1..=1024).flat_map(|id| request(id, "Target.Echo", None, 100, &[1])).collect();
        stream.send_bytes(&half).await;
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    scene.honest.is_served().await;
    drop(crowd);
    scene.is_unharmed().await;
}

/// The twin: what was announced comes, and is as large as it may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_64_mib_that_are_announced_and_sent_are_answered() {
    let _alone = alone().await;
    let mut limits = Limits::default();
    limits.max_message = 65 << 20;
    limits.max_bytes_per_peer = 65 << 20;
    let server = builder().limits(limits.clone()).start().await.expect("a node starts");
    let caller = builder().limits(limits).start().await.expect("a node starts");
    caller.connect(address(&server)).await.expect("it connects");
    let stub = TargetClient::new(&caller).timeout(Duration::from_secs(60)).peer(server.peer_id());
    let text = "x".repeat(64 << 20);
    assert_eq!(stub.echo(text.clone()).await.expect("it is answered").len(), text.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_say_nothing_keep_no_newcomer_out() {
    let _alone = alone().await;
    let node = builder().start().await.expect("a node starts");
    let mut silent = Vec::new();
    for _ in 0..140 {
        silent.push(TcpStream::connect(socket(&node)).await.expect("a socket"));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    echoes(&node).await;
    drop(silent);
}

/// The twin of both: many honest peers at one address, at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_honest_peers_of_one_address_are_all_served() {
    let _alone = alone().await;
    let node = Arc::new(builder().start().await.expect("a node starts"));
    let mut peers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (to, id) = (address(&node), node.peer_id());
        peers.spawn(async move {
            let mut raw = RawPeer::start().await;
            raw.connect(&to).await;
            let mut stream = raw.open(id).await.expect("the node takes a stream");
            stream.hello().await;
            stream.call(1, "Target.Echo", &"honest").await;
            assert!(matches!(stream.next().await, Some(Got::Response { id: 1, .. })));
        });
    }
    while let Some(served) = peers.join_next().await {
        served.expect("an honest peer is served");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_of_strangers_make_room_and_busy_ones_stay() {
    let _alone = alone().await;
    let node = builder().max_connections(40).start().await.expect("a node starts");
    let mut busy = RawPeer::start().await;
    busy.connect(&address(&node)).await;
    let mut working = busy.open(node.peer_id()).await.expect("the node takes a stream");
    working.hello().await;
    working.call(1, "Target.Big", &(10_u32, 4_000_u64)).await;
    let mut idle = Vec::new();
    for _ in 0..29 {
        let mut raw = RawPeer::start().await;
        raw.connect(&address(&node)).await;
        let mut stream = raw.open(node.peer_id()).await.expect("the node takes a stream");
        stream.hello().await;
        idle.push((raw, stream));
    }
    echoes(&node).await;
    assert!(matches!(working.next().await, Some(Got::Response { id: 1, .. })), "what works is let be");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_all_members_again_and_again_is_told_little() {
    let _alone = alone().await;
    const QUESTIONS: u64 = 6_000;
    let rendezvous = "hostile/list";
    let node = builder().rendezvous(rendezvous).start().await.expect("a node starts");
    let mut group = Vec::new();
    for _ in 0..5 {
        group.push(builder().rendezvous(rendezvous).bootstrap([address(&node)]).start().await.expect("a node starts"));
    }
    let met = tokio::time::timeout(Duration::from_secs(30), node.wait_for_members(5)).await;
    met.expect("they meet").expect("the node runs");
    let mut raw = RawPeer::start().await;
    raw.connect(&address(&node)).await;
    let mut stream = raw.open(node.peer_id()).await.expect("the node takes a stream");
    stream.hello().await;
    let key = p2prpc::rendezvous_key(rendezvous);
    let topic: [u8; 32] = key[2..].try_into().expect("a digest");
    let args = encoded(&(vec![topic], (0_u64, 0_u64)));
    let (mut told, mut first) = (0, 0);
    for id in 1..=QUESTIONS {
        stream.send_bytes(&request(id, "p2prpc-membership.List", None, args.len() as u64, &args)).await;
        match stream.next().await {
            Some(Got::Response { body_len, .. }) => told += body_len,
            other => panic!("{other:?}"),
        }
        first = if id == 1 { told } else { first };
    }
    assert!(first > 100, "the first answer lists the group: {first} bytes");
    eprintln!("{QUESTIONS} questions: {told} bytes of answers, the first {first}");
    assert!(told < 1_200_000, "{told} bytes");
}

/// Counts who knocks, and closes the door.
async fn third_party() -> (Multiaddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let (knocks, counted) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let count = knocks.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            drop(socket);
        }
        drop(counted);
    });
    (format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address"), knocks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_answers_queries_with_a_strangers_address_makes_nobody_dial_it() {
    let _alone = alone().await;
    let (victim, knocks) = third_party().await;
    let mut raw = RawPeer::identified(KAD).await;
    let known = raw.address().with_p2p(raw.id()).expect("it has no id yet");
    let node = builder().rendezvous("hostile/dht").bootstrap([known]).start().await.expect("a node starts");
    let until = Instant::now() + Duration::from_secs(8);
    let mut asked = 0;
    let mut answering = tokio::task::JoinSet::new();
    while let Ok(Some(mut stream)) = tokio::time::timeout_at(until.into(), raw.accept_any()).await {
        asked += 1;
        let victim = victim.clone();
        answering.spawn(async move {
            loop {
                let question = stream.bytes_until(|bytes| bytes.len() > 3).await;
                let Some(kind) = question.iter().skip_while(|byte| **byte != 8).nth(1) else { return };
                let closer = (0..20).flat_map(|_| field(8, &peer(PeerId::random(), std::slice::from_ref(&victim))));
                let fields: Vec<u8> = field(2, b"key").into_iter().chain(closer).collect();
                stream.send_bytes(&message(*kind, &fields)).await;
            }
        });
    }
    let dialled = knocks.load(Ordering::SeqCst);
    eprintln!("{dialled} dials of a stranger in 8 s, {asked} streams of questions");
    assert!(asked > 0, "it was asked");
    assert!(dialled < 60, "{dialled} dials of a stranger in 8 s");
    echoes(&node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_vanish_make_nobody_dial_where_they_said_they_were() {
    const CROWD: usize = 40;
    const ADDRESSES: usize = 8;
    let _alone = alone().await;
    // Each meets the node alone: they must not dial each other.
    let topics: Vec<String> = (0..CROWD).map(|n| format!("hostile/vanishing/{n}")).collect();
    let node = topics.iter().fold(builder(), |builder, topic| builder.rendezvous(topic));
    let node = node.start().await.expect("a node starts");
    let (mut there, mut knocks) = (Vec::new(), Vec::new());
    for _ in 0..ADDRESSES {
        let (address, count) = third_party().await;
        there.push(address);
        knocks.push(count);
    }
    let knocked = || knocks.iter().map(|count| count.load(Ordering::SeqCst)).sum::<usize>();
    let starting = topics.iter().map(|topic| {
        let reachable = p2prpc::Reachability::Public(there.clone());
        builder().rendezvous(topic).bootstrap([address(&node)]).reachability(reachable).start()
    });
    // When it ends they are gone from one moment to the next, and dial nobody themselves.
    let theirs = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let crowd = theirs.spawn(libp2p::futures::future::try_join_all(starting.collect::<Vec<_>>()));
    let crowd = crowd.await.expect("it doesn't panic").expect("nodes start");
    let all = tokio::time::timeout(Duration::from_secs(20), node.wait_for_members(CROWD)).await;
    assert!(all.is_ok(), "{} of {CROWD} are members in time", node.members().len());
    theirs.shutdown_background();
    drop(crowd);
    let (before, begun) = (knocked(), Instant::now());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (dialled, seconds) = (knocked() - before, begun.elapsed().as_secs_f64());
    eprintln!("{dialled} dials in {seconds:.1} s of {CROWD} members with {ADDRESSES} addresses each");
    // Sixteen at once and one a second to each socket; and what the crowd itself had begun, in queries of the DHT.
    let most = ADDRESSES as f64 * (16.0 + seconds) + CROWD as f64;
    assert!((dialled as f64) < most, "{dialled} dials, and {most:.0} may be");
    echoes(&node).await;
}

/// What identify pushes: a hundred addresses that nobody has heard of, and that it speaks Kademlia.
fn identify_push(round: u16) -> Vec<u8> {
    let addresses = (0..100_u8).flat_map(|host| {
        let address: Multiaddr = format!("/ip4/127.0.1.{host}/tcp/{}", 1024 + round).parse().expect("an address");
        field(2, &address.to_vec())
    });
    let said: Vec<u8> = addresses.chain(field(3, KAD.as_bytes())).collect();
    [varint(said.len() as u64), said].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_again_and_again_where_it_listens_keeps_nobody_from_meeting() {
    const PUSHES: u16 = 2500;
    let _alone = alone().await;
    let topic = "hostile/identify";
    let node = builder().rendezvous(topic).start().await.expect("a node starts");
    let known = address(&node);
    let mut pusher = RawPeer::speaking("/ipfs/id/push/1.0.0").await;
    pusher.connect(&known).await;
    let (id, began) = (node.peer_id(), Instant::now());
    let pushing = tokio::spawn(async move {
        for round in 0..PUSHES {
            let Some(mut stream) = pusher.open(id).await else { return round };
            stream.send_bytes(&identify_push(round)).await;
            stream.half_close().await;
        }
        // It stays while others look.
        tokio::time::sleep(Duration::from_secs(3)).await;
        PUSHES
    });
    let joining = || builder().rendezvous(topic).bootstrap([known.clone()]).start();
    let (one, other) = (joining().await.expect("a node starts"), joining().await.expect("a node starts"));
    let meeting = async {
        while !(one.members().contains_key(&other.peer_id()) && other.members().contains_key(&one.peer_id())) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), meeting).await.expect("they meet");
    let met = began.elapsed();
    echoes(&node).await;
    let mut asker = RawPeer::speaking(KAD).await;
    asker.connect(&known).await;
    let mut stream = asker.open(id).await.expect("it speaks Kademlia");
    stream.send_bytes(&message(FIND_NODE, &field(2, &PeerId::random().to_bytes()))).await;
    let answer = stream.bytes_until(|bytes| bytes.len() > 3).await;
    let pushed = pushing.await.expect("it doesn't panic");
    eprintln!("{pushed} pushes; they met after {met:?}; an answer of {} bytes", answer.len());
    assert!(pushed > 100, "only {pushed} pushes were taken");
    assert!(answer.len() < 4096, "an answer of {} bytes or more", answer.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_much_that_is_of_no_use_is_told_to_go_and_refused_for_a_while() {
    let _alone = alone().await;
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    // A call that was over before it was cancelled is nobody's fault.
    for id in 1..=1000 {
        stream.call(id, "Target.Echo", &"x").await;
        assert!(matches!(stream.next().await, Some(Got::Response { .. })));
        stream.send(Frame::Cancel { id }).await;
    }
    let mut cancels = Vec::new();
    for _ in 0..20_000 {
        encode(&mut cancels, &Frame::Cancel { id: 1 }).expect("a valid frame");
    }
    stream.send_bytes(&cancels).await;
    let farewell = tokio::time::timeout(Duration::from_secs(5), stream.farewell()).await;
    let farewell = farewell.expect("it is told to go");
    assert!(matches!(farewell, Some((GoAwayReason::Overloaded, _))), "{farewell:?}");
    let mut next = scene.greeted().await;
    next.call(1, "Target.Echo", &"x").await;
    assert_eq!(next.next().await, None, "it is refused");
    scene.honest.is_served().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_hold_up_nobody_else() {
    let _alone = alone().await;
    let scene = Scene::start().await;
    // A list of four million empty lists: refused once it has taken all the memory that it may.
    let count = 4_000_000_u32;
    let bomb: Vec<u8> = [&[252][..], &count.to_le_bytes(), &vec![0; count as usize]].concat();
    let caller = Victim::start(Limits::default()).await;
    let (id, address) = (scene.victim.id(), scene.victim.address().clone());
    caller.look(move |swarm| swarm.add_peer_address(id, address)).await;
    let stub = caller.client().timeout(Duration::from_secs(60)).peer(id);
    stub.echo("warm".into()).await.expect("an honest call");
    let crowd = crowd(&scene, 8, async |stream| {
        let (first, rest) = bomb.split_at(60_000);
        stream.send_bytes(&request(1, "Target.Nest", None, bomb.len() as u64, first)).await;
        for chunk in rest.chunks(60_000) {
            stream.send(Frame::Body { id: 1, chunk }).await;
        }
    })
    .await;
    let (mut slowest, until) = (Duration::ZERO, Instant::now() + Duration::from_secs(4));
    while Instant::now() < until {
        let began = Instant::now();
        stub.echo("honest".into()).await.expect("an honest call");
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    eprintln!("beside eight bombs the slowest honest call took {slowest:?}");
    assert!(slowest < Duration::from_millis(600), "{slowest:?}");
    drop(crowd);
}
