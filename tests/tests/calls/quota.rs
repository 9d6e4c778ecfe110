//! How many calls of one method a peer may have in flight.

use std::sync::Arc;

use p2prpc::prelude::*;
use p2prpc_tests::{Peer, connect, soon};
use tokio::sync::{Semaphore, watch};

#[p2p_service]
trait Presses {
    /// Runs until it is told to end.
    #[rpc(max_in_flight = 2)]
    async fn press(&self, fails: bool) -> u64;
    async fn ask(&self) -> u64;
}

#[derive(Clone)]
struct Hall {
    running: watch::Sender<u64>,
    ends: Arc<Semaphore>,
}

/// One more runs until this is dropped.
struct Runs(watch::Sender<u64>);

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

impl Presses for Hall {
    async fn press(&self, fails: bool) -> u64 {
        self.running.send_modify(|running| *running += 1);
        let _runs = Runs(self.running.clone());
        self.ends.acquire().await.expect("it is open").forget();
        assert!(!fails, "as it was told");
        7
    }

    async fn ask(&self) -> u64 {
        *self.running.borrow()
    }
}

async fn runs(hall: &Hall, n: u64) {
    soon("so many run", hall.running.subscribe().wait_for(|running| *running == n)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_so_many_calls_of_a_method_in_flight_and_others_as_many() {
    let hall = Hall { running: watch::Sender::new(0), ends: Arc::new(Semaphore::new(0)) };
    let server = Peer::serving(PressesServer::new(hall.clone())).await;
    let (one, other) = (Peer::start().await, Peer::start().await);
    connect(&one, &server).await;
    connect(&other, &server).await;
    let at = |peer: &Peer| PressesClient::new(peer).peer(server.id());
    // A place is given back a moment after the handler is gone.
    let press = |peer: &Peer, fails| {
        let stub = at(peer);
        tokio::spawn(async move {
            loop {
                match stub.press(fails).await {
                    Err(error) if error.kind() == ErrorKind::Overloaded => tokio::task::yield_now().await,
                    ended => return ended,
                }
            }
        })
    };

    let (first, second) = (press(&one, false), press(&one, true));
    runs(&hall, 2).await;
    let error = soon("a refusal", at(&one).press(false).into_future()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::NeverSent));
    assert!(error.to_string().contains("max_in_flight"), "{error}");
    assert_eq!(at(&one).ask().await.unwrap(), 2, "other methods are not concerned");
    let elsewhere = press(&other, false);
    runs(&hall, 3).await;

    // One that is cancelled leaves its place, and so do one that panics and one that is answered.
    first.abort();
    runs(&hall, 2).await;
    let third = press(&one, false);
    runs(&hall, 3).await;
    hall.ends.add_permits(3);
    assert_eq!(soon("an end", elsewhere).await.unwrap().unwrap(), 7);
    assert_eq!(soon("an end", third).await.unwrap().unwrap(), 7);
    assert_eq!(soon("an end", second).await.unwrap().unwrap_err().kind(), ErrorKind::Panicked);
    let (fourth, fifth) = (press(&one, false), press(&one, false));
    runs(&hall, 2).await;
    hall.ends.add_permits(2);
    for call in [fourth, fifth] {
        assert_eq!(soon("an end", call).await.unwrap().unwrap(), 7);
    }
}

#[p2p_service]
trait Bounded {
    #[rpc(rate = "3/1h")]
    async fn seldom(&self) -> u64;
    #[rpc(max_request = "1 KiB", max_reply = "2 KiB")]
    async fn small(&self, text: String, times: usize) -> String;
    #[rpc(max_reply = "2 KiB", rate = "2/1h")]
    async fn items(&self, sizes: Vec<usize>) -> impl Stream<Item = String>;
}

struct Here;

impl Bounded for Here {
    async fn seldom(&self) -> u64 {
        1
    }

    async fn small(&self, text: String, times: usize) -> String {
        text.repeat(times)
    }

    async fn items(&self, sizes: Vec<usize>) -> impl Stream<Item = String> {
        libp2p::futures::stream::iter(sizes.into_iter().map(|size| "x".repeat(size)))
    }
}

/// The same, of somebody who thinks that more may be sent.
mod unbounded {
    use p2prpc::prelude::*;

    #[p2p_service]
    pub trait Bounded {
        async fn small(&self, text: String, times: usize) -> String;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_makes_so_many_calls_of_a_method_in_a_time_and_others_as_many() {
    let server = Peer::serving(BoundedServer::new(Here)).await;
    for _ in 0..2 {
        let caller = Peer::start().await;
        connect(&caller, &server).await;
        let bounded = BoundedClient::new(&caller).peer(server.id());
        for _ in 0..3 {
            assert_eq!(bounded.seldom().await.unwrap(), 1);
        }
        let error = bounded.seldom().await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::NeverSent));
        assert!(error.to_string().contains("its rate"), "{error}");
        assert_eq!(bounded.small("a".into(), 1).await.unwrap(), "a", "other methods are not concerned");
        for _ in 0..2 {
            assert_eq!(bounded.items(vec![1]).collect_all().await.unwrap(), ["x"]);
        }
        assert_eq!(bounded.items(vec![1]).collect_all().await.unwrap_err().kind(), ErrorKind::Overloaded);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_and_answers_are_as_long_as_the_method_says() {
    let (server, caller) = (Peer::serving(BoundedServer::new(Here)).await, Peer::start().await);
    connect(&caller, &server).await;
    let bounded = BoundedClient::new(&caller).peer(server.id());
    assert_eq!(bounded.small("x".repeat(1000), 2).await.unwrap().len(), 2000);
    let error = bounded.small("x".repeat(1000), 3).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::TooLarge, Delivery::Answered));
    let error = bounded.small("x".repeat(2000), 1).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::TooLarge, Delivery::NeverSent), "known before");
    let other = unbounded::BoundedClient::new(&caller).peer(server.id());
    let error = other.small("x".repeat(2000), 1).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::TooLarge, Delivery::NeverSent), "{error}");
    assert!(error.to_string().contains("max_request"), "{error}");
    let mut items = bounded.items(vec![2000, 3000, 1]);
    assert_eq!(items.next().await.unwrap().unwrap().len(), 2000);
    assert_eq!(items.next().await.unwrap().unwrap_err().kind(), ErrorKind::TooLarge);
    assert!(items.next().await.is_none());
    let local = BoundedClient::local(Here).peer(PeerId::random());
    assert_eq!(local.small("x".repeat(2000), 1).await.unwrap_err().kind(), ErrorKind::TooLarge);
}
