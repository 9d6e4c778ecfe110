//! What a user wrote may panic: it ends where it was called.
//!
//! (With `panic = "abort"` no panic can be caught.)

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs what a user wrote; `None` if it panicked. What the panic said stays here: it isn't told to peers.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => Some(value),
        Err(payload) => {
            drop_quietly(payload);
            None
        }
    }
}

/// What was thrown may panic again when it is dropped.
fn drop_quietly(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        std::mem::forget(again);
    }
}
