//! Pages for those who want to know more than the documentation of single items says.
//!
//! | page | what is in it |
//! | --- | --- |
//! | [`errors`] | the kinds of errors of calls, what each says of delivery, and what to do |
//! | [`limits`] | every bound, its default, and what is past it |
//! | [`connections`] | when connections are made, left and closed, and what happens when the network changes |
//! | [`changing`] | how a service changes while its peers don't, and which values don't arrive as they were |
//! | [`architecture`] | the modules, and the ways of a call, of a dial and of a hint |
//! | [`membership`] | what the peers of one rendezvous ask and tell each other |
//! | [`wire`] | the bytes, for a client in another language |

// The first definition of a link is the one that counts: here that of the page, in the repository that of the file.

#[doc = "[wire.md]: crate::docs::wire\n[`ErrorKind`]: crate::ErrorKind\n[`Delivery`]: crate::Delivery\n[`Failure`]: crate::Failure\n"]
#[doc = "[`CallError<E>`]: crate::CallError\n[`RpcError`]: crate::RpcError\n"]
#[doc = include_str!("../docs/errors.md")]
pub mod errors {}

#[doc = "[`Limits`]: crate::Limits\n[wire.md]: crate::docs::wire\n"]
#[doc = include_str!("../docs/limits.md")]
pub mod limits {}

#[doc = "[limits.md]: crate::docs::limits\n"]
#[doc = include_str!("../docs/connections.md")]
pub mod connections {}

#[cfg_attr(feature = "gorpc", doc = "[gorpc]: crate::gorpc\n")]
#[doc = include_str!("../docs/changing.md")]
pub mod changing {}

#[doc = "[membership.md]: crate::docs::membership\n[errors.md]: crate::docs::errors\n"]
#[doc = include_str!("../docs/architecture.md")]
pub mod architecture {}

#[doc = "[wire.md]: crate::docs::wire\n[limits.md]: crate::docs::limits\n"]
#[doc = include_str!("../docs/membership.md")]
pub mod membership {}

#[doc = include_str!("../docs/wire.md")]
pub mod wire {}
