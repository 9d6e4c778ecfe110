//! Buffers that are used again: a message costs no allocation, and a large one no fresh memory.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use parking_lot::Mutex;

/// Buffers up to this size are kept by each thread, past it by all threads together.
const SMALL: usize = 64 * 1024;
const KEPT_SMALL: usize = 16;
/// So many bytes of large buffers are kept, until a stream falls idle.
const KEPT_LARGE: usize = 8 << 20;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    /// The last message that was encoded on this thread was large.
    static LARGE_LAST: Cell<bool> = const { Cell::new(false) };
}

static LARGE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer that goes back to where it came from.
#[derive(Debug, Default)]
pub(crate) struct Scratch(pub(crate) Vec<u8>);

impl Scratch {
    /// An empty one, to encode into.
    pub(crate) fn take() -> Self {
        if LARGE_LAST.try_with(Cell::get).unwrap_or_default()
            && let Some(mut large) = Scratch::take_large()
        {
            large.0.clear();
            return large;
        }
        // The pool can't be reached while its thread ends: a fresh buffer does then.
        Scratch(POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten().unwrap_or_default())
    }

    /// A large one, with whatever was in it, if there is one.
    pub(crate) fn take_large() -> Option<Self> {
        LARGE.lock().pop().map(Scratch)
    }

    /// The bytes, to be kept for a while.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        let large = self.0.len() > SMALL;
        let _ = LARGE_LAST.try_with(|last| last.set(large));
        if large { Bytes::from_owner(self) } else { std::mem::take(&mut self.0).into() }
    }

    /// Give back what a large body doesn't need of its buffer: it may wait for long.
    pub(crate) fn trim(&mut self) {
        if self.0.capacity() > SMALL && self.0.capacity() - self.0.len() > self.0.len() / 8 {
            self.0.shrink_to_fit();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Give back the memory of the large buffers that nobody uses.
    pub(crate) fn forget_large() {
        let forgotten = std::mem::take(&mut *LARGE.lock());
        drop(forgotten);
    }
}

impl AsRef<[u8]> for Scratch {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        let _ = LARGE_LAST.try_with(|last| last.set(buffer.len() > SMALL));
        match buffer.capacity() {
            0 => {}
            1..=SMALL => {
                buffer.clear();
                let _ = POOL.try_with(|pool| {
                    let mut pool = pool.borrow_mut();
                    if pool.len() < KEPT_SMALL {
                        pool.push(buffer);
                    }
                });
            }
            bytes => {
                let mut large = LARGE.lock();
                if large.iter().map(Vec::capacity).sum::<usize>() + bytes <= KEPT_LARGE {
                    large.push(buffer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_the_limit_and_nothing_of_one_use_is_seen_in_the_next() {
        let used: Vec<Bytes> = (0..40).map(|n| Scratch(vec![n; 1 << 20]).into_bytes()).collect();
        drop(used);
        let kept: usize = LARGE.lock().iter().map(Vec::capacity).sum();
        assert!((1..=KEPT_LARGE).contains(&kept), "{kept}");
        assert_eq!(Scratch::take().len(), 0);
        Scratch::forget_large();
    }
}
