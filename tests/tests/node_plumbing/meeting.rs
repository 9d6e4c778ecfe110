//! Nodes that find each other, over every transport.

use futures::StreamExt;
use p2prpc::prelude::*;
use p2prpc::{Reachability, Snapshot};

use super::support::{
    Worker, WorkshopClient, WorkshopServer, address, first, happens, local, met, only, soon, started,
};

async fn meet_at(listen: &str) {
    let one = started(Node::builder().listen(listen).rendezvous("test")).await;
    let other = started(Node::builder().listen(listen).rendezvous("test").bootstrap([address(&one)])).await;
    met(&one, &other).await;
}

#[tokio::test]
async fn over_tcp() {
    meet_at("/ip4/127.0.0.1/tcp/0").await;
}

#[tokio::test]
async fn over_tcp_on_ipv6() {
    meet_at("/ip6/::1/tcp/0").await;
}

#[tokio::test]
async fn over_quic() {
    meet_at("/ip4/127.0.0.1/udp/0/quic-v1").await;
}

#[tokio::test]
async fn over_quic_on_ipv6() {
    meet_at("/ip6/::1/udp/0/quic-v1").await;
}

#[tokio::test]
async fn over_mdns() {
    let nearby = || Node::builder().rendezvous("test").protocol("/p2prpc/mdns-test").mdns();
    let one = started(nearby()).await;
    // Without a network there is none to find each other on.
    if one.addresses().iter().all(|address| address.to_string().contains("/127.0.0.1/")) {
        return;
    }
    let other = started(nearby()).await;
    met(&one, &other).await;
}

#[tokio::test]
async fn by_name() {
    let one = started(local()).await;
    let by_name: Multiaddr = address(&one).to_string().replace("/ip4/127.0.0.1", "/dns4/localhost").parse().unwrap();
    let other = started(local().bootstrap([by_name])).await;
    met(&one, &other).await;
}

#[tokio::test]
async fn through_a_third() {
    let middle = started(local()).await;
    let one = started(local().bootstrap([address(&middle)])).await;
    let other = started(local().bootstrap([address(&middle)])).await;
    met(&one, &other).await;
    assert_eq!(soon("both", one.wait_for_members(2)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_client_is_found_by_the_peer_that_it_joins() {
    let server = started(local()).await;
    let client = started(local().reachability(Reachability::Client).bootstrap([address(&server)])).await;
    met(&server, &client).await;
}

#[tokio::test]
async fn not_if_their_rendezvous_differ() {
    let hub = started(Node::builder().listen("/ip4/127.0.0.1/tcp/0").rendezvous("red").rendezvous("blue")).await;
    let red =
        started(Node::builder().listen("/ip4/127.0.0.1/tcp/0").rendezvous("red").bootstrap([address(&hub)])).await;
    let blue =
        started(Node::builder().listen("/ip4/127.0.0.1/tcp/0").rendezvous("blue").bootstrap([address(&hub)])).await;
    met(&hub, &red).await;
    met(&hub, &blue).await;
    // Even connected they are nothing to each other.
    red.connect(address(&blue)).await.unwrap();
    let green =
        started(Node::builder().listen("/ip4/127.0.0.1/tcp/0").rendezvous("red").bootstrap([address(&hub)])).await;
    met(&red, &green).await;
    assert!(!red.members().contains_key(&blue.peer_id()));
    assert!(!blue.members().contains_key(&red.peer_id()));
    let members = hub.members();
    assert!(members[&red.peer_id()].is_in("red") && !members[&red.peer_id()].is_in("blue"));
}

#[tokio::test]
async fn not_if_their_protocols_differ() {
    let one = started(local().protocol("/app/one")).await;
    let other = started(local().protocol("/app/two").bootstrap([address(&one)])).await;
    let third = started(local().protocol("/app/two").bootstrap([address(&one)])).await;
    met(&other, &third).await;
    assert!(one.members().is_empty());
}

#[tokio::test]
async fn and_hear_of_it() {
    let one = started(local()).await;
    let events = one.events();
    let other = started(local().bootstrap([address(&one)])).await;
    let peer = other.peer_id();
    soon("joined", first(events, |event| *event == NodeEvent::PeerJoined { peer })).await;
    drop(other);
    happens(&one, NodeEvent::PeerLeft { peer }).await;
    let mut members = one.watch_members();
    assert_eq!(members.next().await.unwrap().len(), 0);
}

#[tokio::test]
async fn bootstrap_events_say_what_became_of_it() {
    let absent = started(local().identity(Identity::from_seed(11))).await;
    let its_address = address(&absent);
    absent.shutdown(std::time::Duration::ZERO).await;
    let node = started(local().bootstrap([&its_address])).await;
    let failed = soon("failed", first(node.events(), |event| matches!(event, NodeEvent::BootstrapFailed { .. }))).await;
    let NodeEvent::BootstrapFailed { address, error } = failed else { unreachable!() };
    assert_eq!(address, its_address);
    assert!(error.to_lowercase().contains("refused"), "{error}");
    let bare: Multiaddr = its_address.iter().take(2).collect();
    let events = node.events();
    let late = started(Node::builder().identity(Identity::from_seed(11)).listen(bare).rendezvous("test")).await;
    let peer = late.peer_id();
    soon("connected", first(events, |event| *event == NodeEvent::BootstrapConnected { peer })).await;
    met(&node, &late).await;
}

#[tokio::test]
async fn a_blocked_member_is_gone_until_it_is_unblocked() {
    let one = started(local()).await;
    let other = started(local().bootstrap([address(&one)])).await;
    met(&one, &other).await;
    let peer = other.peer_id();
    let events = one.events();
    one.block(peer);
    soon("left", first(events, |event| *event == NodeEvent::PeerLeft { peer })).await;
    assert!(!one.members().contains_key(&peer));
    assert!(one.connect(address(&other)).await.unwrap_err().to_string().contains("blocked"));
    one.unblock(peer);
    met(&one, &other).await;
}

#[tokio::test]
async fn only_the_admitted_become_members() {
    let (guest, stranger) = (Identity::from_seed(21), Identity::from_seed(22));
    let host = started(local().admit(only([guest.peer_id()]))).await;
    let stranger = started(local().identity(stranger).bootstrap([address(&host)])).await;
    let guest = started(local().identity(guest).bootstrap([address(&host)])).await;
    met(&host, &guest).await;
    assert_eq!(host.members().keys().collect::<Vec<_>>(), [&guest.peer_id()]);
    assert!(!stranger.members().contains_key(&host.peer_id()));
}

#[tokio::test]
async fn a_rule_of_admission_that_panics_admits_nobody_and_harms_nothing() {
    let one = started(local().admit(|_, _| panic!("the rule's own fault"))).await;
    let other = started(local()).await;
    assert!(one.connect(address(&other)).await.unwrap_err().to_string().contains("not admitted"));
    assert!(other.connect(address(&one)).await.is_ok() || one.members().is_empty());
    assert_eq!(one.addresses().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_no_more_is_in_no_description() {
    let host = started(local().serve(WorkshopServer::new(Worker))).await;
    let guest = started(local().bootstrap([address(&host)])).await;
    met(&host, &guest).await;
    let client = WorkshopClient::new(&guest);
    soon("it is served", client.wait_for(1)).await.unwrap();
    assert!(host.unserve("Workshop"));
    let none = |members: &Snapshot| members.values().all(|member| !member.may_serve("Workshop"));
    soon("the others know", first(guest.watch_members(), none)).await;
    assert!(client.members().is_empty() && guest.members().contains_key(&host.peer_id()));
    host.serve(WorkshopServer::new(Worker)).unwrap();
    soon("it is served again", client.wait_for(1)).await.unwrap();
}
