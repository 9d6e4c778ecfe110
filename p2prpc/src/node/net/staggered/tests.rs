use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::*;

fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn dials(address_book: &AddressBook) -> Dials {
    let networks = Networks::fixed([("eth0", "10.0.0.1", 24), ("docker0", "172.17.0.1", 16)]);
    Dials::new(networks, address_book.clone())
}

/// The addresses of one dial, and when their turn came; each stays under way.
async fn turns(dials: &Dials, peer: PeerId, addresses: &[&str]) -> Vec<(String, u128)> {
    dials.begin(Some(peer));
    let began = tokio::time::Instant::now();
    let turns: Vec<_> = addresses.iter().map(|text| dials.join(&address(text)).unwrap()).collect();
    let turns = turns.into_iter().zip(addresses).map(|(turn, text)| async move {
        let running = turn.comes().await.unwrap();
        ((*text).to_owned(), began.elapsed().as_millis(), running)
    });
    let mut came = futures::future::join_all(turns).await;
    came.sort_by_key(|(_, at, _)| *at);
    came.into_iter().map(|(address, at, _running)| (address, at)).collect()
}

fn names(turns: &[(String, u128)]) -> Vec<&str> {
    turns.iter().map(|(address, _)| address.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_likeliest_address_has_a_lead_over_the_next() {
    let dials = dials(&AddressBook::default());
    let (bridge, far, near) = ("/ip4/172.17.0.1/tcp/1", "/ip4/203.0.113.1/tcp/1", "/ip4/10.0.0.2/tcp/1");
    let came = turns(&dials, PeerId::random(), &[bridge, far, near]).await;
    assert_eq!(names(&came), [near, far, bridge]);
    assert_eq!(came[0].1, 0);
    assert!(came[1].1 >= LEAD_NEARBY.as_millis() && came[2].1 - came[1].1 >= LEAD.as_millis(), "{came:?}");
}

#[tokio::test(start_paused = true)]
async fn the_next_does_not_wait_for_its_turn_when_one_has_failed() {
    let dials = dials(&AddressBook::default());
    dials.begin(Some(PeerId::random()));
    let began = tokio::time::Instant::now();
    let one = dials.join(&address("/ip4/203.0.113.1/tcp/1")).unwrap();
    let other = dials.join(&address("/ip4/203.0.113.2/tcp/1")).unwrap();
    drop(one.comes().await.unwrap());
    other.comes().await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_was_told_last_comes_first_and_then_where_the_peer_was_last() {
    let address_book = AddressBook::default();
    let dials = dials(&address_book);
    let peer = PeerId::random();
    let [one, two, three] = [1, 2, 3].map(|n| format!("/ip4/203.0.113.{n}/tcp/1"));
    dials.begin(Some(peer));
    let turn = dials.join(&address(&three)).unwrap();
    dials.reached(&turn.batch, peer, &address(&three).with_p2p(peer).unwrap());
    address_book.add(peer, address(&two));
    let came = turns(&dials, peer, &[&one, &three, &two]).await;
    assert_eq!(names(&came), [&two, &three, &one]);
}

#[tokio::test(start_paused = true)]
async fn eight_addresses_are_tried_at_the_same_time() {
    let dials = dials(&AddressBook::default());
    dials.begin(Some(PeerId::random()));
    let turns: Vec<_> = (1..=9).map(|n| dials.join(&address(&format!("/ip4/203.0.113.{n}/tcp/1"))).unwrap()).collect();
    let (came, mut waiting) = (Mutex::new(Vec::new()), FuturesUnordered::new());
    for turn in turns {
        waiting.push(async {
            let running = turn.comes().await.unwrap();
            came.lock().push(running);
        });
    }
    let all = async { while waiting.next().await.is_some() {} };
    assert!(tokio::time::timeout(Duration::from_secs(60), all).await.is_err());
    assert_eq!(came.lock().len(), MAX_AT_ONCE);
    came.lock().pop();
    waiting.next().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dials_are_counted_while_they_last_and_end_when_one_has_reached_the_peer() {
    let dials = dials(&AddressBook::default());
    let (peer, here) = (PeerId::random(), address("/ip4/203.0.113.1/tcp/1"));
    dials.begin(Some(peer));
    let slow = dials.join(&here).unwrap();
    dials.begin(Some(peer));
    assert_eq!(dials.attempts(&peer), 1, "the second has no address yet");
    let quick = dials.join(&address("/ip4/203.0.113.2/tcp/1")).unwrap();
    assert_eq!(dials.attempts(&peer), 2);
    assert!(dials.is_trying(&peer, &here.clone().with_p2p(peer).unwrap()));
    let mut slow = slow.comes().await.unwrap();
    dials.reached(&quick.batch, peer, &address("/ip4/203.0.113.2/tcp/1"));
    slow.ends_early().await;
    drop((slow, quick));
    assert_eq!(dials.attempts(&peer), 0);
    assert!(!dials.is_trying(&peer, &here));
    assert!(dials.0.state.lock().under_way.is_empty(), "nothing is kept of it");
}

#[tokio::test(start_paused = true)]
async fn a_dial_has_so_many_addresses_at_most() {
    let dials = dials(&AddressBook::default());
    dials.begin(Some(PeerId::random()));
    let turns: Vec<_> = (1..=200).map(|port| dials.join(&address(&format!("/ip4/203.0.113.1/tcp/{port}")))).collect();
    assert_eq!(turns.iter().flatten().count(), MAX_ADDRESSES);
}
