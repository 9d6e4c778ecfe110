//! Callers, streams and cancellations on threads of their own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::wire::{self, Frame};

const CALLERS: usize = 3;
const CALLS: usize = 300;

/// Answers on one stream until that is lost, which may be at any time.
async fn answer(mut peer: Peer, mut random: StdRng) {
    peer.hello().await;
    for _ in 0..random.random_range(1..60) {
        match peer.next().await {
            Some(peer::Got::Request { id, body_len, .. }) => match random.random_range(0..4) {
                0 => {
                    peer.send(Frame::Response(wire::Reply {
                        id,
                        metadata: wire::MetadataRef::EMPTY,
                        body_len: 40_000,
                        chunk: &[1; 100],
                    }))
                    .await
                }
                1 => {}
                _ if body_len > 1 << 20 => {}
                _ => peer.respond(id, b"y").await,
            },
            Some(_) => {}
            None => return,
        }
    }
}

/// Each call ends, whoever wins: its answer, its caller's going, its deadline or the end of its stream.
#[test]
fn calls_end_once_whatever_happens_at_the_same_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let _inside = runtime.enter();
    let (session, mut asked) = session(Limits { max_calls_per_peer: 16, ..Limits::default() });
    let over = Arc::new(AtomicBool::new(false));
    let streams = {
        let over = over.clone();
        runtime.spawn(async move {
            let on = Connection::of_test(1);
            let mut random = StdRng::seed_from_u64(1);
            while !over.load(Ordering::Relaxed) {
                let Ok(Some(asking)) = tokio::time::timeout(Duration::from_millis(20), asked.recv()).await else {
                    continue;
                };
                let (ours, theirs) = tokio::io::duplex(16 * 1024);
                let stream = asking.attach(&on, ours.compat());
                answer(Peer::new(theirs), StdRng::seed_from_u64(random.random())).await;
                if random.random() {
                    stream.iter().for_each(|stream| stream.lose());
                }
            }
            // What still waits for a stream ends by its deadline.
        })
    };
    let callers: Vec<_> = (0..CALLERS)
        .map(|n| {
            let (session, runtime) = (session.clone(), runtime.handle().clone());
            thread::spawn(move || {
                let _inside = runtime.enter();
                let mut random = StdRng::seed_from_u64(n as u64 + 10);
                let calling = Calling::over(session, mpsc::unbounded_channel().1);
                for _ in 0..CALLS {
                    let body = vec![1; [10, 10, 30_000][random.random_range(0..3)]];
                    let call = calling.call(&body, Duration::from_millis(random.random_range(1..200)));
                    if random.random_range(0..3) == 0 {
                        call.cancel();
                        continue;
                    }
                    let ended = runtime.block_on(tokio::time::timeout(Duration::from_secs(30), call.result()));
                    ended.expect("no call is without an outcome").ok();
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    over.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        streams.await.unwrap();
        let given_back = async {
            while session.config().in_use() != (0, 0) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let given_back = tokio::time::timeout(Duration::from_secs(30), given_back).await;
        assert!(given_back.is_ok(), "{:?} is left", session.config().in_use());
    });
}
