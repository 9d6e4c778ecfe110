//! Stack for values that are large themselves, and not behind a pointer: a debug build copies them from one frame to the next.

use std::cell::Cell;

/// How much stack there is for whatever isn't such a value.
const ROOM: usize = 2 << 20;
/// Values up to this size are moved about on whatever stack there is.
const SMALL: usize = 4 * 1024;
/// How often a value is on the stack at once, in a debug build: about 50 times were seen.
const COPIES: usize = 64;

thread_local! {
    /// What the stack at hand has beyond what others have.
    static BEYOND: Cell<usize> = const { Cell::new(0) };
}

/// The stack that copies of so large a value may take, beyond what all values may.
pub(crate) const fn needed(size: usize) -> usize {
    if size > SMALL { size.saturating_mul(COPIES) } else { 0 }
}

/// What the stack at hand has beyond what others have.
#[cfg(any(feature = "bincode", feature = "messagepack", feature = "postcard", feature = "json", feature = "gorpc"))]
pub(crate) fn beyond() -> usize {
    BEYOND.try_with(Cell::get).unwrap_or_default()
}

/// Run what makes and moves a value of this size: on another stack, if this one may be too small.
pub(crate) fn with_room<R>(size: usize, run: impl FnOnce() -> R) -> R {
    match needed(size) {
        0 => run(),
        needed => stacker::maybe_grow(ROOM + needed, ROOM + needed, || {
            let _until_then = Granted(BEYOND.replace(needed));
            run()
        }),
    }
}

/// Takes back what was granted, however that ends.
struct Granted(usize);

impl Drop for Granted {
    fn drop(&mut self) {
        BEYOND.set(self.0);
    }
}
