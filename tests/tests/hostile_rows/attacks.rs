//! The attacks. Each goes on until it is killed, and says `begun` once it is under way.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use libp2p::futures::FutureExt;
use libp2p::futures::future::{join_all, try_join_all};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use p2prpc::Reachability;
use p2prpc::wire::{Frame, encode};
use p2prpc_tests::hostile::{PROTOCOL, RawPeer, RawStream, encoded, request, varint};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::{Attacks, RENDEZVOUS, builder, id_of};

const KAD: &str = "/ipfs/kad/1.0.0";
const ADD_PROVIDER: u8 = 2;

pub(crate) fn all() -> Attacks {
    Attacks::from([
        ("announced_bodies", (|to| announced_bodies(to).boxed()) as fn(_) -> _),
        ("answers_with_a_third_party", |to| third_party(to).boxed()),
        ("bombs", |to| bombs(to).boxed()),
        ("cancels_of_dead_ids", |to| dead_cancels(to).boxed()),
        ("calls_made_to_be_cancelled", |to| cancelled_calls(to).boxed()),
        ("half_open_requests", |to| half_open(to).boxed()),
        ("identify_pushes", |to| pushes(to).boxed()),
        ("idle_identities", |to| idle(to).boxed()),
        ("lists_from_version_0", |to| lists(to).boxed()),
        ("members_that_vanish", |to| vanishing(to).boxed()),
        ("provider_records", |to| records(to).boxed()),
        ("silent_sockets", |to| sockets(to).boxed()),
        ("streams_refused_natively", |to| refused(to).boxed()),
    ])
}

fn begun() {
    println!("begun");
}

/// A peer, and a call stream that takes calls.
async fn caller(to: &Multiaddr) -> Option<(RawPeer, RawStream)> {
    let mut raw = RawPeer::start().await;
    raw.connect(to).await;
    let mut stream = raw.open(id_of(to)).await?;
    stream.hello().await;
    Some((raw, stream))
}

fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat()
}

fn peer(id: PeerId, addresses: &[Multiaddr]) -> Vec<u8> {
    let addresses = addresses.iter().flat_map(|address| field(2, &address.to_vec()));
    field(1, &id.to_bytes()).into_iter().chain(addresses).collect()
}

/// A message of Kademlia's, with its length before it.
fn kad(kind: u8, fields: &[u8]) -> Vec<u8> {
    let message = [&[1 << 3, kind][..], fields].concat();
    [varint(message.len() as u64), message].concat()
}

/// Some addresses at which nobody wants to be dialled.
async fn strangers(many: usize) -> Vec<Multiaddr> {
    let listening = join_all((0..many).map(|_| TcpListener::bind("127.0.0.1:0"))).await;
    let there = listening.into_iter().map(|listener| {
        let listener = listener.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address")
    });
    there.collect()
}

/// 1: answers each question of the DHT with random peers at a third party's address.
async fn third_party(to: Multiaddr) {
    let there = strangers(1).await;
    let mut raw = RawPeer::identified(KAD).await;
    raw.connect(&to).await;
    begun();
    while let Some(mut stream) = raw.accept_any().await {
        let there = there.clone();
        tokio::spawn(async move {
            loop {
                let question = stream.bytes_until(|bytes| bytes.len() > 3).await;
                let Some(kind) = question.iter().skip_while(|byte| **byte != 8).nth(1) else { return };
                let closer = (0..20).flat_map(|_| field(8, &peer(PeerId::random(), &there)));
                let fields: Vec<u8> = field(2, b"key").into_iter().chain(closer).collect();
                stream.send_bytes(&kad(*kind, &fields)).await;
            }
        });
    }
}

/// 2: claims the native protocol and takes the other, and is called for it by somebody who is fooled.
async fn refused(to: Multiaddr) {
    let mut raw = RawPeer::claiming(PROTOCOL, &[&format!("{PROTOCOL}/p2prpc/1")]).await;
    raw.connect(&to).await;
    begun();
    while let Some(stream) = raw.accept_any().await {
        drop(stream);
    }
}

/// 3: provider records under keys of 500 kB.
async fn records(to: Multiaddr) {
    begun();
    for n in 0_u64.. {
        let mut raw = RawPeer::speaking(KAD).await;
        raw.connect(&to).await;
        let Some(mut stream) = raw.open(id_of(&to)).await else { continue };
        for record in 0..100_u64 {
            let mut key = vec![7; 500_000];
            key[..16].copy_from_slice(&[n.to_be_bytes(), record.to_be_bytes()].concat());
            let provider = peer(raw.id(), &[raw.address()]);
            stream.send_bytes(&kad(ADD_PROVIDER, &[field(2, &key), field(9, &provider)].concat())).await;
        }
    }
}

/// 4: says again and again that it listens at a hundred other addresses.
async fn pushes(to: Multiaddr) {
    let mut raw = RawPeer::speaking("/ipfs/id/push/1.0.0").await;
    raw.connect(&to).await;
    begun();
    for round in 0..60_000_u32 {
        let port = 1024 + round % 60_000;
        let addresses = (0..100_u8).flat_map(|host| {
            let address: Multiaddr = format!("/ip4/127.0.1.{host}/tcp/{port}").parse().expect("an address");
            field(2, &address.to_vec())
        });
        let said: Vec<u8> = addresses.chain(field(3, KAD.as_bytes())).collect();
        let Some(mut stream) = raw.open(id_of(&to)).await else {
            raw.connect(&to).await;
            continue;
        };
        stream.send_bytes(&[varint(said.len() as u64), said].concat()).await;
        stream.half_close().await;
    }
}

/// 5: sixteen peers that announce bodies of 4 MiB and send a byte of each.
async fn announced_bodies(to: Multiaddr) {
    let crowd = join_all((0..16).map(|_| caller(&to))).await;
    begun();
    let mut crowd: Vec<_> = crowd.into_iter().flatten().collect();
    for id in 1.. {
        for (_, stream) in &mut crowd {
            stream.send_bytes(&request(id, "Target.Echo", None, 4 << 20, &[1])).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// 5: sixteen peers with a thousand requests each that are never whole.
async fn half_open(to: Multiaddr) {
    let mut crowd: Vec<_> = join_all((0..16).map(|_| caller(&to))).await.into_iter().flatten().collect();
    for (_, stream) in &mut crowd {
        let half: Vec<u8> = (1..=1024).flat_map(|id| request(id, "Target.Echo", None, 100, &[1])).collect();
        stream.send_bytes(&half).await;
    }
    begun();
    pending().await
}

/// 6: sockets that say nothing, renewed.
async fn sockets(to: Multiaddr) {
    let port = to.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
    let there = SocketAddr::from(([127, 0, 0, 1], port.expect("a TCP port")));
    begun();
    loop {
        let silent = join_all((0..140).map(|_| TcpStream::connect(there))).await;
        sleep(Duration::from_millis(500)).await;
        drop(silent);
    }
}

/// 7: many identities with an idle call stream each.
async fn idle(to: Multiaddr) {
    let mut crowd = Vec::new();
    begun();
    for _ in 0..768 {
        crowd.push(caller(&to).await);
    }
    pending().await
}

/// 8: members that say that they are at a third party's addresses, and vanish.
async fn vanishing(to: Multiaddr) {
    let there = strangers(8).await;
    begun();
    loop {
        let starting = (0..8).map(|_| {
            let reachable = Reachability::Public(there.clone());
            builder().rendezvous(RENDEZVOUS).bootstrap([to.clone()]).reachability(reachable).start()
        });
        let crowd = try_join_all(starting).await.expect("nodes start");
        let met = join_all(crowd.iter().map(|node| node.wait_for_members(1)));
        let _ = tokio::time::timeout(Duration::from_secs(2), met).await;
        drop(crowd);
    }
}

/// 9: asks for all members from the beginning, again and again.
async fn lists(to: Multiaddr) {
    let Some((_raw, mut stream)) = caller(&to).await else { return };
    let key = p2prpc::rendezvous_key(RENDEZVOUS);
    let topic: [u8; 32] = key[2..].try_into().expect("a digest");
    let args = encoded(&(vec![topic], (0_u64, 0_u64)));
    begun();
    for id in 1.. {
        stream.send_bytes(&request(id, "p2prpc-membership.List", None, args.len() as u64, &args)).await;
        if stream.next().await.is_none() {
            return pending().await;
        }
    }
}

/// 10: cancels of calls that are over, as fast as they go, from a new stream whenever one is closed.
async fn dead_cancels(to: Multiaddr) {
    let mut cancels = Vec::new();
    for _ in 0..2_000 {
        encode(&mut cancels, &Frame::Cancel { id: 1 }).expect("a valid frame");
    }
    begun();
    loop {
        let Some((raw, mut stream)) = caller(&to).await else { continue };
        stream.call(1, "Target.Echo", &"x").await;
        for _ in 0..20 {
            stream.send_bytes(&cancels).await;
        }
        sleep(Duration::from_millis(10)).await;
        drop(raw);
    }
}

/// Calls whose handlers wait, each cancelled at once.
async fn cancelled_calls(to: Multiaddr) {
    let Some((_raw, mut stream)) = caller(&to).await else { return };
    begun();
    for batch in 0_u64.. {
        let ids = batch * 500 + 1..=batch * 500 + 500;
        let mut storm = Vec::new();
        for id in ids {
            storm.extend(request(id, "Target.Wait", None, 0, &[]));
            encode(&mut storm, &Frame::Cancel { id }).expect("a valid frame");
        }
        stream.send_bytes(&storm).await;
    }
}

/// 11: eight bombs of 4 MiB at once, again and again.
async fn bombs(to: Multiaddr) {
    // A list of four million empty lists: refused once it has taken all the memory that it may.
    let count = 4_000_000_u32;
    let bomb: Vec<u8> = [&[252][..], &count.to_le_bytes(), &vec![0; count as usize]].concat();
    let mut crowd: Vec<_> = join_all((0..8).map(|_| caller(&to))).await.into_iter().flatten().collect();
    begun();
    for id in 1.. {
        for (_, stream) in &mut crowd {
            let (first, rest) = bomb.split_at(60_000);
            stream.send_bytes(&request(id, "Target.Nest", None, bomb.len() as u64, first)).await;
            for chunk in rest.chunks(60_000) {
                stream.send(Frame::Body { id, chunk }).await;
            }
        }
        sleep(Duration::from_millis(500)).await;
    }
}
