//! What the harnesses share, which stand in modules `fuzz` beside what they try.
//!
//! `cargo test` runs each over its corpus, in `__fuzz__` beside it, and a few seconds of random inputs; with
//! `BOLERO_RANDOM_TEST_TIME_MS` for longer. `cargo bolero test` runs one under a fuzzer.

use std::cell::Cell;
use std::sync::Once;
use std::time::Duration;

/// How long random inputs are tried.
pub(crate) const TIME: Duration = Duration::from_secs(3);

macro_rules! fuzz {
    () => {
        bolero::check!().with_test_time(crate::fuzzing::TIME).with_iterations(10_000_000)
    };
}

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Runs it on a runtime of its own, whose clock goes on by itself when all tasks wait. A task may panic as little as it.
pub(crate) fn with_paused_clock<F: Future>(run: impl FnOnce() -> F) -> F::Output {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
    let panics = PANICS.get();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let output = runtime.block_on(async { run().await });
    drop(runtime);
    assert_eq!(PANICS.get(), panics, "a task panicked");
    output
}

/// A stream of bytes, cut at the lengths that `cuts` name in turn.
#[cfg(feature = "gorpc")]
pub(crate) fn pieces<'a>(mut bytes: &'a [u8], cuts: &'a [u16]) -> impl Iterator<Item = &'a [u8]> {
    let mut cuts = cuts.iter().cycle();
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let len = cuts.next().map_or(bytes.len(), |cut| usize::from(*cut).max(1));
        let (piece, rest) = bytes.split_at(len.min(bytes.len()));
        bytes = rest;
        Some(piece)
    })
}
