//! Both ends are ours, on several threads, and the stream between them breaks again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep, timeout};

use super::service::{self, encoded};
use super::*;
use crate::error::{Delivery, ErrorKind};

/// So many calls have to be answered, however slow the machine is.
const ENOUGH: u32 = 60;

struct ServedEnd {
    server: Arc<Server>,
    account: Arc<PeerAccount>,
    session: Arc<PeerSession>,
    probe: Arc<Probe>,
}

impl ServedEnd {
    fn new(limits: Limits) -> Self {
        let server = Arc::new(Server::new(PeerId::random(), limits.clone(), Handle::unstarted()));
        let probe = Arc::<Probe>::default();
        server.serve(service::service(probe.clone())).unwrap();
        let (session, _) = session(limits);
        let account = server.accounts().open(session.peer(), None);
        ServedEnd { server, account, session, probe }
    }
}

/// Opens a stream to the server whenever one is asked for, and breaks it after a while.
async fn connect(mut asked: mpsc::UnboundedReceiver<Arc<PeerSession>>, served: Arc<ServedEnd>) {
    let mut random = StdRng::seed_from_u64(1);
    while let Some(session) = asked.recv().await {
        let (ours, mut theirs) = tokio::io::duplex(random.random_range(100..200_000));
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let lives = Duration::from_millis(random.random_range(1..80));
        tokio::spawn(async move {
            let _ = timeout(lives, tokio::io::copy_bidirectional(&mut far, &mut theirs)).await;
        });
        session.attach(&Connection::of_test(1), near.compat());
        serve_native(served.server.clone(), served.account.clone(), served.session.peer(), ours.compat());
    }
}

/// Calls at random for a second at least, and until `enough` were answered by all who call. Gives how many calls were answered, and
/// how many were lost.
async fn call_until(calling: Calling, seed: u64, enough: Arc<AtomicU32>) -> (u32, u32) {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut answered, mut lost) = (0, 0);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) || enough.load(Ordering::Relaxed) < ENOUGH {
        assert!(began.elapsed() < Duration::from_secs(60), "{answered} of {} were answered", answered + lost);
        // Of no period that a buffer could have.
        let text: String =
            (b'a'..=b'w').map(char::from).cycle().take([0, 100, 20_000, 150_000][random.random_range(0..4)]).collect();
        let time = Duration::from_millis([5, 50, 2_000][random.random_range(0..3)]);
        let began = Instant::now();
        let call = calling.call(&encoded(&text), time);
        if random.random_range(0..5) == 0 {
            sleep(Duration::from_micros(random.random_range(0..2_000))).await;
            call.cancel();
            continue;
        }
        match timeout(time + Duration::from_secs(5), call.result()).await.expect("a call never ended") {
            Ok(RawReply::Value(body)) => {
                assert_eq!(body, encoded(&text));
                answered += 1;
                enough.fetch_add(1, Ordering::Relaxed);
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                let expected = [ErrorKind::ConnectionLost, ErrorKind::DeadlineExceeded];
                assert!(expected.contains(&error.kind()), "{error}");
                assert_ne!(error.delivery(), Delivery::Answered, "{error}");
                assert!(began.elapsed() < time + Duration::from_secs(2), "{:?}: {error}", began.elapsed());
                lost += 1;
            }
        }
    }
    (answered, lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_call_ends_and_leaves_nothing_while_streams_break() {
    let served = Arc::new(ServedEnd::new(Limits::default()));
    let (session, asked) = session(Limits { max_calls_per_peer: 64, ..Limits::default() });
    let connecting = tokio::spawn(connect(asked, served.clone()));
    let enough = Arc::<AtomicU32>::default();
    let callers: Vec<_> = (0..32)
        .map(|seed| {
            let calling = Calling::over(session.clone(), mpsc::unbounded_channel().1);
            tokio::spawn(call_until(calling, seed, enough.clone()))
        })
        .collect();
    let (mut answered, mut lost) = (0, 0);
    for caller in callers {
        let one = caller.await.expect("a caller failed");
        (answered, lost) = (answered + one.0, lost + one.1);
    }
    assert!(answered >= ENOUGH && lost > 0, "{answered} of {} were answered", answered + lost);
    let cleared = timeout(Duration::from_secs(10), async {
        while session.config().in_use() != (0, 0) || served.account.in_use() != (0, 0, 0) || served.probe.alive() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(cleared.await.is_ok(), "{:?} {:?}", session.config().in_use(), served.account.in_use());
    connecting.abort();
}
