//! A node's part in the DHT, as a peer sees it that is no node.

use std::num::NonZeroUsize;

use futures::StreamExt;
use p2prpc::libp2p::kad::store::MemoryStore;
use p2prpc::libp2p::kad::{self, GetProvidersOk, GetRecordOk, Mode, QueryId, QueryResult, Quorum, Record, RecordKey};
use p2prpc::libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use p2prpc::libp2p::{self, Swarm, identify};
use p2prpc::prelude::*;
use p2prpc::{Reachability, rendezvous_key};

use p2prpc_tests::hostile::RawPeer;

use super::support::{address, local, met, serving, soon, started};

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "p2prpc::libp2p::swarm::derive_prelude")]
struct Stranger {
    kad: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
}

/// A peer of the DHT that knows this node and nobody else.
async fn stranger(node: &Node) -> Swarm<Stranger> {
    let mut swarm = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(Default::default(), libp2p::noise::Config::new, libp2p::yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| Stranger {
            kad: kad::Behaviour::new(key.public().to_peer_id(), MemoryStore::new(key.public().to_peer_id())),
            identify: identify::Behaviour::new(identify::Config::new("/stranger".into(), key.public())),
        })
        .unwrap()
        .build();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let address_of_node = address(node);
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = soon("it listens", swarm.select_next_some()).await {
            swarm.add_external_address(address);
            break;
        }
    }
    swarm.behaviour_mut().kad.set_mode(Some(Mode::Server));
    swarm.behaviour_mut().kad.add_address(&node.peer_id(), address_of_node);
    swarm
}

/// All results of a query.
async fn results(swarm: &mut Swarm<Stranger>, query: QueryId) -> Vec<QueryResult> {
    let mut results = Vec::new();
    let all = async {
        loop {
            let SwarmEvent::Behaviour(StrangerEvent::Kad(kad::Event::OutboundQueryProgressed {
                id, result, step, ..
            })) = swarm.select_next_some().await
            else {
                continue;
            };
            if id == query {
                results.push(result);
                if step.last {
                    return;
                }
            }
        }
    };
    soon("the query ends", all).await;
    results
}

async fn providers(swarm: &mut Swarm<Stranger>, key: RecordKey) -> Vec<PeerId> {
    let query = swarm.behaviour_mut().kad.get_providers(key);
    let found = results(swarm, query).await.into_iter().filter_map(|result| match result {
        QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => Some(providers),
        _ => None,
    });
    found.flatten().collect()
}

#[tokio::test]
async fn a_node_that_serves_is_found_under_its_rendezvous() {
    let hub = started(local()).await;
    let server = started(serving().bootstrap([address(&hub)])).await;
    met(&hub, &server).await;
    let mut swarm = stranger(&hub).await;
    let found = async {
        loop {
            let found = providers(&mut swarm, rendezvous_key("test").into()).await;
            if found.contains(&server.peer_id()) {
                return found;
            }
        }
    };
    let found = soon("it is a provider", found).await;
    assert!(!found.contains(&hub.peer_id()), "it has nothing to offer");
}

#[tokio::test]
async fn a_node_that_only_calls_out_is_not_part_of_it() {
    let hub = started(local()).await;
    let client = started(local().reachability(Reachability::Client).bootstrap([address(&hub)])).await;
    met(&hub, &client).await;
    let mut swarm = stranger(&client).await;
    // It doesn't speak the DHT's protocol: nothing can be asked of it.
    let query = swarm.behaviour_mut().kad.get_closest_peers(PeerId::random());
    let closest = results(&mut swarm, query).await;
    assert!(
        closest.iter().all(|result| match result {
            QueryResult::GetClosestPeers(Ok(ok)) => ok.peers.iter().all(|info| info.peer_id != client.peer_id()),
            _ => true,
        }),
        "{closest:?}"
    );
}

#[tokio::test]
async fn a_node_gives_its_public_addresses_as_its_own() {
    let public: Multiaddr = "/ip4/203.0.113.1/tcp/4001".parse().unwrap();
    let node = started(local().reachability(Reachability::Public(vec![public.clone()]))).await;
    let mut swarm = stranger(&node).await;
    swarm.dial(address(&node)).unwrap();
    let identified = async {
        loop {
            if let SwarmEvent::Behaviour(StrangerEvent::Identify(identify::Event::Received { info, .. })) =
                swarm.select_next_some().await
            {
                return info;
            }
        }
    };
    let info = soon("it says who it is", identified).await;
    assert!(info.listen_addrs.contains(&public), "{info:?}");
    assert!(info.agent_version.starts_with("p2prpc/"), "{info:?}");
}

#[tokio::test]
async fn records_of_others_are_not_kept() {
    let node = started(local()).await;
    let mut swarm = stranger(&node).await;
    let key = RecordKey::from(b"something".to_vec());
    let record = Record::new(key.clone(), vec![7; 1_000]);
    let one = Quorum::N(NonZeroUsize::MIN);
    let put = swarm.behaviour_mut().kad.put_record_to(record, [node.peer_id()].into_iter(), one);
    assert!(!results(&mut swarm, put).await.is_empty());
    drop(swarm);
    let mut other = stranger(&node).await;
    let get = other.behaviour_mut().kad.get_record(key);
    let got = results(&mut other, get).await;
    assert!(
        !got.iter().any(|result| matches!(result, QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(_))))),
        "{got:?}"
    );
    // And the node is none the worse.
    let guest = started(local().bootstrap([address(&node)])).await;
    met(&node, &guest).await;
}

const GET_PROVIDERS: u8 = 3;
const FIND_NODE: u8 = 4;

/// What a node answers to a question of the DHT, as it goes over the wire.
async fn answer(raw: &RawPeer, node: PeerId, kind: u8, key: &[u8]) -> Vec<u8> {
    let mut question = vec![0x08, kind, 0x12, u8::try_from(key.len()).unwrap()];
    question.extend_from_slice(key);
    let mut message = vec![u8::try_from(question.len()).unwrap()];
    message.extend_from_slice(&question);
    let mut stream = raw.open(node).await.expect("it speaks the protocol");
    stream.send_bytes(&message).await;
    stream.half_close().await;
    stream.bytes_until(|_| false).await
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn addresses_are_told_as_those_of_2021_can_dial_them() {
    let hub = started(local()).await;
    let server = started(serving().bootstrap([address(&hub)])).await;
    met(&hub, &server).await;
    let mut raw = RawPeer::speaking("/ipfs/kad/1.0.0").await;
    raw.connect(&address(&hub)).await;
    let bare: Multiaddr = address(&server).iter().take(2).collect();
    let full = address(&server).to_vec();
    assert!(full.starts_with(&bare.to_vec()) && full.len() > bare.len());
    let key = rendezvous_key("test");
    for (kind, key) in [(FIND_NODE, server.peer_id().to_bytes()), (GET_PROVIDERS, key.to_vec())] {
        let told = async {
            loop {
                let answer = answer(&raw, hub.peer_id(), kind, &key).await;
                assert!(!contains(&answer, &full), "it ends in the peer's id");
                if contains(&answer, &bare.to_vec()) && contains(&answer, &server.peer_id().to_bytes()) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        soon("the server is told of", told).await;
    }
}

#[tokio::test]
async fn one_that_leaves_is_told_of_no_more() {
    let hub = started(local()).await;
    let server = started(serving().bootstrap([address(&hub)])).await;
    met(&hub, &server).await;
    let mut raw = RawPeer::speaking("/ipfs/kad/1.0.0").await;
    raw.connect(&address(&hub)).await;
    let (key, id) = (rendezvous_key("test").to_vec(), server.peer_id().to_bytes());
    let is_told_of = async || contains(&answer(&raw, hub.peer_id(), GET_PROVIDERS, &key).await, &id);
    soon("it is a provider", async { while !is_told_of().await {} }).await;
    server.shutdown(std::time::Duration::ZERO).await;
    soon("it is none any more", async { while is_told_of().await {} }).await;
}
