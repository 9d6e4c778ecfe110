//! Peers that say one thing of what they speak and do another: whatever they do, a call to them ends, and few streams are opened for it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use p2prpc::prelude::*;
use p2prpc_tests::hostile::{PROTOCOL, Probe, RawPeer, TargetClient, TargetServer, processor_time};
use tokio::sync::{Mutex, MutexGuard};

const PATIENCE: Duration = Duration::from_secs(2);
const WATCHED: Duration = Duration::from_secs(5);
/// The first four, eight a second, and one for the call itself.
const MOST: usize = 4 + 8 * 5 + 1;

/// They measure the time that their process takes.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: OnceLock<Mutex<()>> = OnceLock::new();
    ALONE.get_or_init(Mutex::default).lock().await
}

fn native() -> String {
    format!("{PROTOCOL}/p2prpc/1")
}

/// It speaks one protocol, or none that we do, and claims others. Each stream of ours is ended as soon as it is there, and what is proposed
/// beside it is refused, which nobody sees but the processor.
async fn streams_for_a_call(speaks: &str, claims: &[&str]) -> usize {
    let _alone = alone().await;
    let target = TargetServer::new(Probe::default());
    let builder = Node::builder().protocol(PROTOCOL).gorpc(true).listen("/ip4/127.0.0.1/tcp/0").serve(target);
    let node = builder.start().await.expect("a node starts");
    let mut raw = RawPeer::claiming(speaks, claims).await;
    node.add_address(raw.id(), raw.address()).expect("an address");
    let (before, begun) = (processor_time(), Instant::now());
    let call = TargetClient::new(&node).timeout(PATIENCE).peer(raw.id()).echo("who are you?".into());
    let call = tokio::spawn(call.into_future());
    let mut streams = 0;
    while let Ok(Some(stream)) = tokio::time::timeout_at((begun + WATCHED).into(), raw.accept_any()).await {
        streams += 1;
        drop(stream);
    }
    let ended = tokio::time::timeout(Duration::from_secs(1), call).await.expect("the call has ended long since");
    let error = ended.expect("it doesn't panic").expect_err("nobody answers");
    let used = processor_time().saturating_sub(before);
    eprintln!("speaks {speaks}, claims {claims:?}: {streams} streams, {used:?} of {WATCHED:?}, {error}");
    assert!(used < WATCHED / 5, "{used:?} of {WATCHED:?}");
    node.shutdown(Duration::ZERO).await;
    streams
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_gorpc_and_claims_the_native_protocol_is_sent_few_streams() {
    assert!(streams_for_a_call(PROTOCOL, &[&native()]).await <= MOST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_the_native_protocol_and_claims_gorpc_is_sent_few_streams() {
    assert!(streams_for_a_call(&native(), &[PROTOCOL]).await <= MOST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_claims_both_and_takes_one_is_sent_few_streams() {
    assert!(streams_for_a_call(PROTOCOL, &[&native(), PROTOCOL]).await <= MOST);
    assert!(streams_for_a_call(&native(), &[&native(), PROTOCOL]).await <= MOST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_claims_what_it_never_takes_is_asked_few_times() {
    assert_eq!(streams_for_a_call("/other/1", &[&native(), PROTOCOL]).await, 0);
}
