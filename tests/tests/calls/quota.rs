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
