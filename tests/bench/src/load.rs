//! Callers that loop, and what they measured.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::peers::Echo;

/// What is measured: so many callers, each with a message of so many bytes, for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Callers that each make one call after the other.
    pub callers: usize,
    /// Bytes of a message.
    pub bytes: usize,
    /// How long they call.
    pub time: Duration,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Calls a second, of all callers together.
    pub calls_per_s: f64,
    /// The median time of a call, in microseconds.
    pub p50_us: f64,
    /// 99 of 100 calls took no longer.
    pub p99_us: f64,
    /// 999 of 1,000 calls took no longer.
    pub p999_us: f64,
    /// Processor time of this process, both ends if both are in it.
    pub cpu_us_per_call: Option<f64>,
    /// Allocations in this process.
    pub allocs_per_call: Option<f64>,
}

/// Call in a loop from `work.callers` tasks. A call that fails ends the benchmark: its figures would mean nothing.
///
/// # Panics
/// If a call fails, or an echo is not as long as its message.
pub async fn run(work: Work, echo: &Echo) -> Figures {
    let message = "x".repeat(work.bytes);
    let (began, cpu) = (Instant::now(), cpu_time());
    let stop = began + work.time;
    let callers: Vec<_> = (0..work.callers)
        .map(|_| {
            let (echo, message) = (echo.clone(), message.clone());
            tokio::spawn(async move {
                let mut latencies = histogram();
                let mut now = Instant::now();
                while now < stop {
                    let reply = echo(message.clone()).await;
                    assert_eq!(reply.len(), message.len(), "the echo is not what was sent");
                    let after = Instant::now();
                    latencies.saturating_record((after - now).as_nanos() as u64);
                    now = after;
                }
                latencies
            })
        })
        .collect();
    let mut all = histogram();
    for caller in callers {
        all.add(caller.await.expect("a caller failed")).expect("histograms of one shape");
    }
    let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_time() - cpu);
    let calls = all.len() as f64;
    let micros = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
    Figures {
        calls_per_s: calls / took,
        p50_us: micros(0.5),
        p99_us: micros(0.99),
        p999_us: micros(0.999),
        cpu_us_per_call: Some(cpu.as_secs_f64() * 1e6 / calls),
        allocs_per_call: None,
    }
}

/// Up to a minute, in nanoseconds, to a hundredth.
fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("valid bounds")
}

/// What this process has had.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
