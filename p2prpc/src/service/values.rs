//! What may travel, in words that say what to do about a type that can't.
//!
//! [`Argument`] and [`Value`] have none of serde's traits as supertraits: the compiler would speak of those, and twice.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a method can take: all types that are `Serialize + DeserializeOwned + Send + 'static`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a service's method: it cannot travel",
    label = "an argument is `Serialize`, `Deserialize`, `Send` and `'static`",
    note = "give a type of your own `#[derive(serde::Serialize, serde::Deserialize)]`; for somebody else's there is `#[serde(with = \"..\")]` on the argument",
    note = "the context of a call is borrowed: `cx: &Context`"
)]
pub trait Argument: Send + Sized + 'static {
    /// As serde's.
    #[doc(hidden)]
    fn serialize_argument<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    /// As serde's.
    #[doc(hidden)]
    fn deserialize_argument<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Argument for T {
    fn serialize_argument<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }

    fn deserialize_argument<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// What a method can return, or give in a `Result`: all types that are `Serialize + DeserializeOwned + Send + 'static`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a service's method: it cannot travel",
    label = "what a method returns is `Serialize`, `Deserialize`, `Send` and `'static`",
    note = "give a type of your own `#[derive(serde::Serialize, serde::Deserialize)]`"
)]
pub trait Value: Send + Sized + 'static {
    /// As serde's.
    #[doc(hidden)]
    fn serialize_value<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    /// As serde's.
    #[doc(hidden)]
    fn deserialize_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Value for T {
    fn serialize_value<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }

    fn deserialize_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// The type of a method's argument number `N`. Generated code implements it, and names the type nowhere else, so that
/// what is wrong with it is said once.
pub trait Takes<const N: usize> {
    /// The type.
    type Argument: Argument;
    /// How it is kept until it is sent, and until a handler takes it.
    type Held: Hold<Self::Argument>;
}

/// Arguments of this size or less are kept where they are, larger ones on the heap: from there they aren't copied.
const LARGE_FROM: usize = 512;

/// True if a value of this type is one to keep on the heap.
pub const fn is_large<A>() -> bool {
    size_of::<A>() > LARGE_FROM
}

/// The answer of [`is_large`], as a type.
#[derive(Debug)]
pub struct Is<const LARGE: bool>;

/// How an `A` is kept.
pub trait Store<A> {
    /// The type for it.
    type Held: Hold<A>;
}

impl<A> Store<A> for Is<false> {
    type Held = Here<A>;
}

impl<A> Store<A> for Is<true> {
    type Held = Box<A>;
}

/// Keeps an `A`. It is made by `From`: a debug build copies an argument onto the stack of each function of ours that passes it on, and
/// not onto that of the standard library's.
pub trait Hold<A>: From<A> {
    /// Look at it.
    fn get(&self) -> &A;
    /// Give it away.
    fn take(self) -> A;
}

/// A value that is kept where it is.
#[derive(Debug)]
pub struct Here<A>(A);

impl<A> From<A> for Here<A> {
    #[inline]
    fn from(value: A) -> Self {
        Here(value)
    }
}

impl<A> Hold<A> for Here<A> {
    #[inline]
    fn get(&self) -> &A {
        &self.0
    }

    #[inline]
    fn take(self) -> A {
        self.0
    }
}

impl<A> Hold<A> for Box<A> {
    #[inline]
    fn get(&self) -> &A {
        self
    }

    #[inline]
    fn take(self) -> A {
        *self
    }
}

/// Argument number `N` of `M`, on its way.
pub struct Taken<M: Takes<N>, const N: usize>(pub M::Held);

impl<M: Takes<N>, const N: usize> Taken<M, N> {
    /// Give it to the handler.
    #[inline]
    pub fn take(self) -> M::Argument {
        self.0.take()
    }
}

impl<M: Takes<N>, const N: usize> Serialize for Taken<M, N> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.get().serialize_argument(serializer)
    }
}

impl<'de, M: Takes<N>, const N: usize> Deserialize<'de> for Taken<M, N> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        M::Argument::deserialize_argument(deserializer).map(|argument| Taken(argument.into()))
    }
}

impl<M: Takes<N>, const N: usize> fmt::Debug for Taken<M, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taken").finish_non_exhaustive()
    }
}

/// What a method gave, on its way out.
pub(crate) struct Sent<'a, V>(pub(crate) &'a V);

impl<V: Value> Serialize for Sent<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_value(serializer)
    }
}

/// What a method gave, on its way in.
pub(crate) struct Received<V>(pub(crate) V);

impl<'de, V: Value> Deserialize<'de> for Received<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        V::deserialize_value(deserializer).map(Received)
    }
}
