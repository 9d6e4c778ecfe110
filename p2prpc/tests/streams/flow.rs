//! Who is slow slows down who sends, and nobody else.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::stream;
use p2prpc::prelude::*;

use super::{Service, StreamsClient, StreamsPeer, TCP, node, pair, pair_over};

/// So much may be on its way beside the windows: what is in sockets, and buffers of both ends.
const ON_THE_WAY: usize = 16 << 20;

/// Waits until something is counted, and the count stays what it is for a second.
async fn at_rest(count: impl Fn() -> usize) -> usize {
    let (mut last, mut looks) = (0, 0);
    while last == 0 || looks < 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = count();
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
    }
    last
}

async fn check_slow_reader(listen: &str) {
    let (peer, service, _nodes) = pair_over(listen).await;
    let mut noted = peer.noted();
    assert_eq!(noted.next().await.unwrap().unwrap().len(), 1024);
    let given = at_rest(|| service.given.load(Ordering::SeqCst)).await;
    assert!(given * 1024 < ON_THE_WAY, "{given} KiB were given, and one taken");
    // It is the only one that waits.
    assert_eq!(peer.ping().await.unwrap(), 1);
    assert_eq!(peer.count(10_000).collect_all().await.unwrap().len(), 10_000);
    assert_eq!(peer.large(1 << 20, 20).collect_all().await.unwrap().len(), 20);
    // And it goes on where it was.
    for _ in 0..2 * given {
        assert_eq!(noted.next().await.unwrap().unwrap().len(), 1024);
    }
    drop(noted);
    service.all_ended().await;
}

#[tokio::test]
async fn a_slow_reader_slows_its_handler_down_and_nobody_else_over_tcp() {
    check_slow_reader(super::TCP).await;
}

#[cfg(feature = "quic")]
#[tokio::test]
async fn a_slow_reader_slows_its_handler_down_and_nobody_else_over_quic() {
    check_slow_reader(super::QUIC).await;
}

#[tokio::test]
async fn a_slow_handler_slows_its_caller_down_and_a_caller_that_goes_is_noticed_all_the_same() {
    let (peer, service, _nodes) = pair().await;
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = sent.clone();
    let items = stream::repeat_with(move || {
        count.fetch_add(1, Ordering::SeqCst);
        vec![7; 1024]
    });
    let call = tokio::spawn(peer.slow(items));
    let given = at_rest(|| sent.load(Ordering::SeqCst)).await;
    assert!((64..ON_THE_WAY / 1024).contains(&given), "{given} KiB were given, and none taken");
    service.go_on.notify_one();
    assert_eq!(peer.ping().await.unwrap(), 1);
    call.abort();
    let gone = tokio::time::timeout(Duration::from_secs(10), service.all_ended());
    gone.await.expect("it is noticed within seconds, though nothing is read");
}

#[tokio::test]
async fn past_128_streams_the_next_one_waits_for_a_place() {
    let (peer, service, _nodes) = pair().await;
    check_places(&peer, &service).await;
}

#[tokio::test]
async fn past_128_streams_within_a_process_the_next_one_waits_too() {
    let service = Service::default();
    check_places(&StreamsClient::local(service.clone()).peer(PeerId::random()), &service).await;
}

async fn check_places(peer: &StreamsPeer, service: &Service) {
    let mut open: Vec<_> = (0..128).map(|_| peer.silent()).collect();
    for call in &mut open {
        assert!(futures::poll!(call.next()).is_pending());
    }
    while service.running.load(Ordering::SeqCst) < 128 {
        for call in &mut open {
            assert!(futures::poll!(call.next()).is_pending());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let late = peer.count(1).timeout(Duration::from_millis(200)).next().await.unwrap().unwrap_err();
    assert_eq!((late.kind(), late.delivery()), (ErrorKind::DeadlineExceeded, Delivery::NeverSent), "{late}");
    assert_eq!(peer.ping().await.unwrap(), 1, "calls are apart");
    let waiting = tokio::spawn(peer.count(3).collect_all());
    tokio::task::yield_now().await;
    drop(open.pop());
    assert_eq!(waiting.await.unwrap().unwrap(), [1, 2, 3]);
    drop(open);
    service.all_ended().await;
}

/// A way to what listens there, which carries nothing any more once it is told so, and says nothing of it.
async fn way_to(port: u16) -> (u16, tokio::sync::watch::Sender<bool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let own = listener.local_addr().expect("it is bound").port();
    let (dead, is_dead) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut is_dead = is_dead.clone();
            if *is_dead.borrow() {
                continue;
            }
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = async { drop(is_dead.wait_for(|dead| *dead).await) } => std::future::pending().await,
                }
            });
        }
    });
    (own, dead)
}

#[tokio::test]
async fn a_peer_that_falls_silent_ends_its_streams_on_both_sides() {
    let service = Service::default();
    let (server, caller) = (node(Some(service.clone()), TCP).await, node(None, TCP).await);
    let address = server.addresses().pop().expect("an address").to_string();
    let port = address.split('/').nth(4).and_then(|port| port.parse().ok()).expect("a TCP address");
    let (own, dead) = way_to(port).await;
    caller.connect(address.replace(&format!("/tcp/{port}"), &format!("/tcp/{own}"))).await.expect("it is there");
    let peer = StreamsClient::new(&caller).peer(server.peer_id());
    let (mut silent, (mut words, mut echo)) = (peer.silent(), peer.echo().into_split());
    words.send("heard".into()).await.unwrap();
    assert_eq!(echo.next().await.unwrap().unwrap(), "heard");
    assert!(futures::poll!(silent.next()).is_pending());
    while service.running.load(Ordering::SeqCst) < 2 {
        assert!(futures::poll!(silent.next()).is_pending());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    dead.send_replace(true);
    let began = std::time::Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(60), futures::future::join(silent.next(), echo.next()));
    let (silent, echo) = ended.await.expect("both end though nobody says a word");
    for error in [silent.unwrap().unwrap_err(), echo.unwrap().unwrap_err()] {
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun), "{error}");
    }
    assert!(began.elapsed() > Duration::from_secs(10), "a pause isn't the end: {:?}", began.elapsed());
    tokio::time::timeout(Duration::from_secs(60), service.all_ended()).await.expect("and so do the handlers");
}

/// Whoever gives a call up has not said that its items were all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_that_is_given_up_is_never_taken_for_all_of_it() {
    let (peer, service, _nodes) = pair().await;
    for round in 0..300 {
        let items = stream::iter([1, 2]).chain(stream::pending());
        let call = tokio::spawn(peer.collect(items));
        while service.given.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        if round % 2 == 0 {
            call.abort();
        } else {
            // Both halves at once, as one call.
            call.abort();
            let mut echo = peer.collect_and_echo();
            echo.send(1).await.unwrap();
            assert_eq!(echo.next().await.unwrap().unwrap(), 1);
            drop(echo);
        }
        service.all_ended().await;
        assert_eq!(service.whole.load(Ordering::SeqCst), 0, "round {round}");
        service.given.store(0, Ordering::SeqCst);
    }
}
