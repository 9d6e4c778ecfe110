//! Callers that loop, and what they measured.

use std::future::Future;
use std::time::{Duration, Instant};

/// What is measured: so many callers, each with a message of so many bytes, for so long.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Callers that each make one call after the other.
    pub callers: usize,
    /// Bytes of a message.
    pub bytes: usize,
    /// How long they call.
    pub time: Duration,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Calls a second, of all callers together.
    pub calls_per_s: f64,
    /// The median time of a call.
    pub p50: Duration,
    /// 99 of 100 calls took no longer.
    pub p99: Duration,
}

/// The latencies that one caller keeps at the most: enough for the percentiles, and bounded.
const KEPT: usize = 1 << 17;

/// Call in a loop from `work.callers` tasks. A call that fails ends the benchmark: its figures would mean nothing.
///
/// # Panics
/// If a call fails.
pub async fn run<C, F>(work: Work, client: C) -> Figures
where
    C: Fn(String) -> F + Clone + Send + 'static,
    F: Future<Output = String> + Send + 'static,
{
    let message = "x".repeat(work.bytes);
    let began = Instant::now();
    let stop = began + work.time;
    let callers: Vec<_> = (0..work.callers)
        .map(|_| {
            let (client, message) = (client.clone(), message.clone());
            tokio::spawn(async move {
                let (mut calls, mut latencies) = (0_u64, Vec::new());
                let mut now = Instant::now();
                while now < stop {
                    let reply = client(message.clone()).await;
                    assert_eq!(reply.len(), message.len(), "the echo is not what was sent");
                    let after = Instant::now();
                    if latencies.len() < KEPT {
                        latencies.push(after - now);
                    }
                    calls += 1;
                    now = after;
                }
                (calls, latencies)
            })
        })
        .collect();
    let (mut calls, mut latencies) = (0, Vec::new());
    for caller in callers {
        let (made, took) = caller.await.expect("a caller failed");
        calls += made;
        latencies.extend(took);
    }
    let elapsed = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let percentile =
        |p: usize| latencies.get((latencies.len().saturating_sub(1)) * p / 100).copied().unwrap_or_default();
    Figures { calls_per_s: calls as f64 / elapsed, p50: percentile(50), p99: percentile(99) }
}
