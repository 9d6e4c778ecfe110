//! A node that is alone says why, whatever the cause.

use std::time::Duration;

use p2prpc::prelude::*;
use p2prpc::{Diagnosis, NodeBuilder, Reached, Relation};
use p2prpc_tests::hostile::RawPeer;

use super::support::{Worker, WorkshopServer, address, first, local, met, soon, started};

fn serving() -> NodeBuilder {
    local().serve(WorkshopServer::new(Worker))
}

/// What the node knows once it is so.
async fn diagnosed(node: &Node, is: impl Fn(&Diagnosis) -> bool) -> Diagnosis {
    let known = async {
        loop {
            let diagnosis = node.diagnose().await;
            if is(&diagnosis) {
                return diagnosis;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), known).await {
        Ok(diagnosis) => diagnosis,
        Err(_) => panic!("it is never so: {}", node.diagnose().await),
    }
}

fn is(diagnosis: &Diagnosis, peer: PeerId, relation: &Relation) -> bool {
    diagnosis.connected.get(&peer).is_some_and(|known| known.relation == *relation)
}

/// The sentence that names the cause, and the event that told of it.
async fn finds(node: &Node, peer: PeerId, relation: Relation, sentence: &str) {
    let said = diagnosed(node, |diagnosis| is(diagnosis, peer, &relation)).await.to_string();
    assert!(said.contains(sentence), "{sentence}: {said}");
    assert!(said.contains("0 members; connected to 1 peers"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_another_rendezvous() {
    let host = started(serving()).await;
    let lonely = started(Node::builder().listen("/ip4/127.0.0.1/tcp/0").rendezvous("elsewhere")).await;
    let mut events = lonely.events();
    lonely.connect(address(&host)).await.unwrap();
    let told = NodeEvent::Stranger { peer: host.peer_id(), relation: Relation::OtherRendezvous };
    soon("it is told", first(&mut events, |event| *event == told)).await;
    finds(&lonely, host.peer_id(), Relation::OtherRendezvous, "share no rendezvous with us, ours is `elsewhere`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_another_application() {
    let host = started(serving().protocol("/theirs")).await;
    let lonely = started(serving().protocol("/ours").bootstrap([address(&host)])).await;
    let relation = Relation::OtherProtocol(vec!["/theirs".into()]);
    finds(&lonely, host.peer_id(), relation, "is of another application, /theirs, not of ours, /ours").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn among_peers_that_know_nothing_of_p2prpc() {
    let stranger = RawPeer::identified("/chat/1.0.0").await;
    let at = stranger.address().with_p2p(stranger.id()).unwrap();
    let lonely = started(serving().bootstrap([at])).await;
    finds(&lonely, stranger.id(), Relation::OtherProtocol(Vec::new()), "is no peer of p2prpc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_helper_of_another_dht() {
    let helper = started(Node::builder().listen("/ip4/127.0.0.1/tcp/0").kad_protocol("/theirs/kad/1.0.0")).await;
    let lonely = started(serving().bootstrap([address(&helper)])).await;
    let other = |diagnosis: &Diagnosis| {
        diagnosis.connected.get(&helper.peer_id()).is_some_and(|known| !known.other_kad_protocols.is_empty())
    };
    let said = diagnosed(&lonely, other).await.to_string();
    assert!(said.contains("has another DHT, /theirs/kad/1.0.0, not ours, /ipfs/kad/1.0.0"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_bootstrap_peer() {
    let gone = started(serving()).await;
    let at = address(&gone);
    gone.shutdown(Duration::ZERO).await;
    let lonely = started(serving().bootstrap([&at])).await;
    let failed = |diagnosis: &Diagnosis| matches!(diagnosis.bootstrap.get(&at), Some(Reached::Failed(_)));
    let said = diagnosed(&lonely, failed).await.to_string();
    assert!(said.contains(&format!("{at} can't be reached")) && said.contains("refused"), "{said}");

    let wrong = address(&lonely).iter().take(2).collect::<Multiaddr>().with_p2p(PeerId::random()).unwrap();
    let misled = started(serving().bootstrap([&wrong])).await;
    let failed = |diagnosis: &Diagnosis| matches!(diagnosis.bootstrap.get(&wrong), Some(Reached::Failed(_)));
    let said = diagnosed(&misled, failed).await.to_string();
    assert!(said.contains(&format!("another peer answered, {}", lonely.peer_id())), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_company_it_knows_who_reached_it_and_where() {
    let host = started(serving()).await;
    let guest = started(serving().bootstrap([address(&host)])).await;
    met(&host, &guest).await;
    let at: Multiaddr = address(&host).iter().take(2).collect();
    let diagnosis =
        diagnosed(&host, |diagnosis| diagnosis.own_addresses.get(&at).is_some_and(|times| *times > 0)).await;
    assert!(diagnosis.inbound > 0 && is(&diagnosis, guest.peer_id(), &Relation::Member));
    let diagnosis = guest.diagnose().await;
    assert_eq!(diagnosis.bootstrap.get(&address(&host)), Some(&Reached::Connected));
    assert!(diagnosis.to_string().starts_with("1 members; connected to 1 peers, 1 of them of this application"));
}
