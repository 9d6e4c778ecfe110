//! What callers, streams and losses do at the same time, under schedules that are chosen and can be played again.
//!
//! A caller that is never woken, a call that ends twice or not at all, and a count that isn't given back end a schedule.

use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::*;
use crate::error::ErrorKind;
use crate::sync::model;
use crate::wire::{self, Frame};

/// Timers can be made, and none fires: nothing here may depend on one.
fn without_time() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[test]
fn an_answer_and_a_caller_that_goes_meet_once() {
    model(500, || {
        let slot = Arc::new(PendingCall::new(None));
        let answering = {
            let slot = slot.clone();
            thread::spawn(move || slot.complete(Ok(RawReply::Value(b"y"[..].into()))))
        };
        let losing = {
            let slot = slot.clone();
            thread::spawn(move || slot.complete(Err(RpcError::never_sent(ErrorKind::ConnectionLost, ""))))
        };
        if thread_rng().gen_bool(0.5) {
            // Whoever comes first ends it, and the caller hears.
            let ended = block_on(poll_fn(|cx| slot.poll(cx)));
            assert!(ended.result.is_ok() || ended.result.is_err_and(|error| error.kind() == ErrorKind::ConnectionLost));
            assert!(slot.abandon().is_none(), "an answer that was taken leaves nothing to give up");
        } else {
            slot.abandon();
            assert!(slot.place().is_none(), "nobody looks for it any more");
        }
        answering.join().unwrap();
        losing.join().unwrap();
    });
}

/// Answers what comes, gives up now and then, and says so after so many frames.
async fn answer(mut peer: Peer, frames: usize) {
    peer.hello().await;
    for _ in 0..frames {
        match peer.next().await {
            Some(peer::Got::Request { id, .. }) => match thread_rng().gen_range(0..6) {
                0 => return,
                1 => peer.fail(id, wire::ErrorCode::Overloaded, wire::Delivery::NeverSent, "full").await,
                _ => peer.respond(id, b"y").await,
            },
            // It crossed an answer.
            Some(peer::Got::Cancel { id }) => peer.respond(id, b"late").await,
            Some(_) => {}
            None => return,
        }
    }
    peer.send(Frame::GoAway { last_call_id: u64::MAX >> 1, reason: wire::GoAwayReason::ShuttingDown, message: "" })
        .await;
}

/// Callers of so many peers, and what may be in flight to each and to all.
fn calls_end(peers: usize, limits: Limits) {
    const CALLERS: usize = 3;
    let runtime = without_time();
    let _inside = runtime.enter();
    model(300, move || {
        let (first, mut asked) = session(Limits { max_calls_per_peer: 2, ..limits.clone() });
        let shared = || PeerSession::new(PeerId::random(), first.config().clone(), first.opener().clone());
        let sessions: Vec<_> = std::iter::once(first.clone()).chain((1..peers).map(|_| shared())).collect();
        let callers: Vec<_> = (0..CALLERS)
            .map(|n| {
                let session = sessions[n % peers].clone();
                thread::spawn(move || {
                    let calling = Calling::over(session, mpsc::unbounded_channel().1);
                    for _ in 0..2 {
                        let call = calling.call(b"x", Duration::from_secs(1000));
                        if thread_rng().gen_range(0..3) == 0 {
                            call.cancel();
                        } else {
                            // It ends, or this waits for ever.
                            block_on(call.result()).ok();
                        }
                    }
                })
            })
            .collect();
        // It goes on until the last caller has its answer, and ends with the schedule.
        shuttle::future::spawn(async move {
            while let Some(asking) = asked.recv().await {
                shuttle::future::spawn(async move {
                    let (ours, theirs) = tokio::io::duplex(4096);
                    let stream = asking.attach(&Connection::of_test(1), ours.compat());
                    drop(asking);
                    answer(Peer::new(theirs), thread_rng().gen_range(0..8)).await;
                    if thread_rng().gen_bool(0.5) {
                        stream.iter().for_each(|stream| stream.lose());
                    }
                });
            }
        });
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        // Who sends what waits may be overtaken by its answer, and counts it as waiting too for as long as it has the lock.
        let _unlocked: Vec<_> = sessions.iter().map(|session| session.wants_stream()).collect();
        assert_eq!(first.config().in_use(), (0, 0), "places are given back");
    });
}

#[test]
fn each_call_ends_once_and_gives_its_place_back_under_any_schedule() {
    calls_end(1, Limits::default());
}

/// A call that waits for room is woken by the one that makes it, and by nothing else.
#[test]
fn calls_that_wait_for_room_are_sent_when_there_is_some_under_any_schedule() {
    calls_end(1, Limits { max_bytes: 1, ..Limits::default() });
}

/// One that has waited for room to its own peer, and finds that others have taken the rest meanwhile.
#[test]
fn calls_that_wait_for_room_of_both_kinds_are_sent_under_any_schedule() {
    calls_end(2, Limits { max_bytes: 1, max_bytes_per_peer: 1, ..Limits::default() });
}
