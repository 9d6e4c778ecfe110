//! The serde adapter that every codec decodes through.
//!
//! [`Guarded`](deserializer::Guarded) is between a `Deserialize` and the format's `Deserializer`. It hands a wrapped visitor to the format,
//! which hands wrapped accesses and deserializers to the visitor, so each step of either passes here.
//!
//! What a value costs is charged where it is asked for, and once: a deserializer knows how much of its value has been `paid` already, as an
//! element, a field or the inside of an `Option`, and charges the rest. The fields of a struct are `inline`: its own size has paid for them.

mod access;
mod deserializer;
mod visitor;

use std::cell::Cell;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error};

use self::deserializer::Guarded;
use super::CodecError;
use super::limits::{MAX_DEPTH, MAX_STACK, decode_budget};
use crate::stack;

/// With `Some` and newtypes. A recursive type of nothing else would take no bytes a level.
const MAX_LEVELS: usize = 4 * MAX_DEPTH;

/// The most elements that a `size_hint` may announce, since collections reserve room for that many before the first has come.
const MAX_HINT: usize = 4096;

/// Decodes by `run`, which hands [`Root`] the format's deserializer.
#[inline]
pub(super) fn within<T, F>(body_len: usize, run: F) -> Result<T, CodecError>
where
    T: DeserializeOwned,
    F: FnOnce(Root<'_, T>) -> Result<T, CodecError>,
{
    let meter = Meter::new(body_len);
    let result = run(Root { meter: &meter, value: PhantomData });
    // The format's error has lost which limit it was, and a `Deserialize` may even have gone on without the value.
    match meter.exceeded.get() {
        None => result,
        Some(Limit::Depth) => Err(CodecError::TooDeep { limit: MAX_DEPTH }),
        Some(Limit::Stack) => Err(CodecError::OutOfStack { limit: MAX_STACK }),
        Some(Limit::Budget) => Err(CodecError::OverBudget { budget: meter.budget }),
    }
}

/// The whole value.
pub(super) struct Root<'m, T> {
    meter: &'m Meter,
    value: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Root<'_, T> {
    type Value = T;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        let place = Place { meter: self.meter, depth: 0, level: 0 };
        place.charge(size_of::<T>())?;
        T::deserialize(Guarded { inner: deserializer, place, paid: size_of::<T>() })
    }
}

#[derive(Clone, Copy)]
enum Limit {
    Depth,
    Stack,
    Budget,
}

struct Meter {
    budget: usize,
    left: Cell<usize>,
    stack_start: usize,
    max_stack: usize,
    exceeded: Cell<Option<Limit>>,
}

impl Meter {
    #[inline]
    fn new(body_len: usize) -> Self {
        let budget = decode_budget(body_len);
        let (stack_start, max_stack) = (stack_position(), MAX_STACK.saturating_add(stack::beyond()));
        Self { budget, left: Cell::new(budget), stack_start, max_stack, exceeded: Cell::new(None) }
    }

    /// After the first failure nothing is left, so that a `Deserialize` that goes on gets nowhere.
    #[cold]
    fn fail<E: Error>(&self, limit: Limit) -> E {
        self.left.set(0);
        if self.exceeded.get().is_none() {
            self.exceeded.set(Some(limit));
        }
        E::custom("a limit on decoding was exceeded")
    }
}

#[inline(always)]
fn stack_position() -> usize {
    let here = 0u8;
    std::ptr::from_ref(&here).addr()
}

/// How deep the value at hand is within the whole.
#[derive(Clone, Copy)]
struct Place<'m> {
    meter: &'m Meter,
    depth: u16,
    level: u16,
}

impl Place<'_> {
    #[inline]
    fn charge<E: Error>(self, bytes: usize) -> Result<(), E> {
        match self.meter.left.get().checked_sub(bytes) {
            Some(left) => {
                self.meter.left.set(left);
                Ok(())
            }
            None => Err(self.meter.fail(Limit::Budget)),
        }
    }

    /// Inside a struct, tuple, sequence, map or enum.
    #[inline]
    fn inside_container<E: Error>(self) -> Result<Self, E> {
        let inside = self.inside_wrapper()?;
        if usize::from(self.depth) >= MAX_DEPTH {
            return Err(self.meter.fail(Limit::Depth));
        }
        Ok(Self { depth: self.depth.saturating_add(1), ..inside })
    }

    /// Inside a `Some` or a newtype.
    #[inline]
    fn inside_wrapper<E: Error>(self) -> Result<Self, E> {
        if usize::from(self.level) >= MAX_LEVELS {
            return Err(self.meter.fail(Limit::Depth));
        }
        if stack_position().abs_diff(self.meter.stack_start) > self.meter.max_stack {
            return Err(self.meter.fail(Limit::Stack));
        }
        Ok(Self { level: self.level.saturating_add(1), ..self })
    }

    #[inline]
    fn cap_hint(self, hint: Option<usize>) -> Option<usize> {
        hint.map(|elements| elements.min(MAX_HINT).min(self.meter.left.get()))
    }
}
