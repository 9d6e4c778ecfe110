use super::*;

fn accounts(limits: Limits) -> Accounts {
    Accounts::new(limits)
}

#[test]
fn a_limit_that_is_raised_holds() {
    let raised = Limits { max_message: 256 << 20, max_calls_per_peer: 4_096, ..Limits::default() }.settled();
    assert_eq!((raised.max_message, raised.max_bytes_per_peer, raised.max_bytes), (256 << 20, 256 << 20, 1 << 30));
    assert_eq!(raised.calls_of_a_peer(), 4_096);
    let account = accounts(raised).open(PeerId::random(), Some("203.0.113.9".parse().unwrap()));
    assert!(account.reserve(256 << 20).is_some());
}

#[test]
fn a_limit_that_is_lowered_stays() {
    let lowered = Limits { max_bytes_per_peer: 1_000, max_calls: 8, ..Limits::default() }.settled();
    assert_eq!((lowered.max_message, lowered.max_bytes_per_peer, lowered.max_calls), (1_000, 1_000, 8));
}

#[test]
fn a_peer_has_one_account_for_all_its_streams() {
    let accounts = accounts(Limits { max_calls_per_peer: 2, ..Limits::default() });
    let peer = PeerId::random();
    let (one, two) = (accounts.open(peer, None), accounts.open(peer, None));
    let first = one.admit();
    let second = two.admit();
    assert!(first.is_some() && second.is_some());
    assert!(one.admit().is_none());
    drop(first);
    assert!(two.admit().is_some());
}

#[test]
fn no_peer_has_more_than_its_share_of_all_calls() {
    let accounts = accounts(Limits { max_calls: 8_192, max_calls_per_peer: 8_192, ..Limits::default() });
    let account = accounts.open(PeerId::random(), None);
    let permits: Vec<_> = std::iter::from_fn(|| account.admit()).collect();
    assert_eq!(permits.len(), 512);
}

#[test]
fn a_public_prefix_has_a_quarter_and_private_ones_share_no_prefix() {
    let limits = Limits { max_calls: 1_024, ..Limits::default() };
    let count = |ip: &str| {
        let accounts = accounts(limits.clone());
        let ip: IpAddr = ip.parse().unwrap();
        let peers: Vec<_> = (0..8).map(|_| accounts.open(PeerId::random(), Some(ip))).collect();
        let permits: Vec<_> = peers.iter().flat_map(|peer| std::iter::from_fn(|| peer.admit())).collect();
        permits.len()
    };
    assert_eq!(count("203.0.113.9"), 256);
    assert_eq!(count("2001:db8::1"), 256);
    assert_eq!(count("127.0.0.1"), 1_024);
    assert_eq!(count("10.1.2.3"), 1_024);
}

#[test]
fn what_is_announced_takes_nothing_from_others() {
    let limits = Limits { max_message: 1 << 20, max_bytes: 64 << 20, ..Limits::default() };
    let accounts = accounts(limits);
    let mut held = Vec::new();
    for _ in 0..100 {
        let peer = accounts.open(PeerId::random(), None);
        // Of all bytes a peer has 1/16, announced or not.
        let coming: Vec<_> = std::iter::from_fn(|| peer.reserve_coming(1 << 20, 1)).collect();
        assert_eq!(coming.len(), 4);
        let calls: Vec<_> = std::iter::from_fn(|| peer.admit_coming()).collect();
        assert_eq!(calls.len(), 1024);
        held.push((coming, calls));
    }
    let honest = accounts.open(PeerId::random(), None);
    assert!(honest.admit().is_some());
    assert!(honest.reserve(4 << 20).is_some());
    for (coming, calls) in &mut held {
        assert!(coming.iter_mut().all(|permit| permit.came(100_000)));
        calls.truncate(1);
        assert!(calls[0].begin());
    }
    // What has come counts for all.
    assert!(accounts.total.bytes.load(Ordering::Relaxed) >= 100 * 4 * 100_000);
    assert_eq!(accounts.total.calls.load(Ordering::Relaxed), 100);
    assert!(!held.iter_mut().flat_map(|(coming, _)| coming).all(|permit| permit.came(1 << 20)));
    drop(held);
    assert_eq!(accounts.total.bytes.load(Ordering::Relaxed), 0);
    assert_eq!(accounts.total.calls.load(Ordering::Relaxed), 0);
}

#[test]
fn a_body_as_large_as_bodies_may_be_fits_whatever_the_share() {
    let limits = Limits { max_message: 64 << 20, ..Limits::default() };
    assert_eq!(limits.bytes_of_a_peer(), 64 << 20);
    let limits = Limits { max_bytes: 128 << 20, max_message: 64 << 20, ..Limits::default() };
    assert!(accounts(limits).open(PeerId::random(), None).reserve(64 << 20).is_some());
}

#[test]
fn bytes_come_back() {
    let accounts = accounts(Limits { max_bytes_per_peer: 100, ..Limits::default() });
    let account = accounts.open(PeerId::random(), None);
    let most = account.reserve(100);
    assert!(account.reserve(1).is_none());
    assert!(account.reserve(usize::MAX).is_none());
    drop(most);
    assert!(account.reserve(1).is_some());
}
