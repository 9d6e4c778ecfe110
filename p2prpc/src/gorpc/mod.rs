//! Go peers: the protocol of [go-libp2p-gorpc](https://github.com/libp2p/go-libp2p-gorpc), both ends of it.
//!
//! A service with a name in Go, `#[p2p_service(gorpc = "EchoRPCAPI")]`, is served to Go peers and can be called at Go peers. Which of
//! its peers are Go peers a client doesn't need to know: it calls each in the dialect that it speaks, its own before gorpc.
//!
//! # What travels as what
//!
//! The one argument of a method travels as itself, no argument as `struct{}`, several as a struct with their names in upper camel case.
//! Structs are maps by the names of their fields; those that Go has come from `#[serde(rename_all = "PascalCase")]`.
//!
//! | Rust | Go |
//! | --- | --- |
//! | integers, `bool`, `f32`, `f64` | the same |
//! | `String`, `char`, an enum's variant without a value | `string` |
//! | `Vec<u8>` (with [`serde_bytes`](https://docs.rs/serde_bytes) faster and smaller), `[u8; N]` | `[]byte`, `[N]byte` |
//! | `Vec<T>`, `HashMap<K, V>`, structs | slices, maps, structs |
//! | `Option<T>` | a pointer, or a field with `omitempty` |
//! | [`Time`] | `time.Time` |
//! | `()`, a struct without fields | `struct{}`; of `()` within a value, nil |
//! | a handler's error | an `error` of its text |
//!
//! A field that a Go peer leaves out, as `omitempty` does with what is empty, is zero, or what its `#[serde(default)]` says. A
//! string that isn't UTF-8 is an error here, and so is a number that the type has no room for.
//!
//! A struct whose fields have other names here than in Go would be all zeros: if fields are left out and keys came that it
//! doesn't have, a warning in the log names both, once for each method, and with `#[p2p_service(gorpc = "..", gorpc_strict)]` that is an error.
//!
//! Nil has no `Some`: `Some(())` within a value and `Some(None)` arrive as `None`.
//!
//! A Go peer sends neither a deadline nor metadata; a caller's deadline is kept here, and the Go peer then sees its stream reset.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects))]

mod time;

pub use self::time::{OutOfRange, Time};
