//! See [`p2prpc_bench::worker`]: it counts allocations, which makes all else slower.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<(), p2prpc_bench::peers::Error> {
    p2prpc_bench::worker::main(Some(|| {
        let stats = COUNTING.stats();
        stats.allocations + stats.reallocations
    }))
}
