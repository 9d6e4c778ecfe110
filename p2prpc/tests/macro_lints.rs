//! What `#[p2p_service]` writes sets no lint level that a user may have forbidden, but those that serde's derive sets.

#![forbid(unreachable_pub, dead_code, missing_docs, unused_imports, unused_variables, unused_must_use, unsafe_code)]
#![forbid(non_snake_case, unused_mut, private_interfaces, private_bounds, deprecated)]
#![forbid(
    clippy::too_many_arguments,
    clippy::module_name_repetitions,
    clippy::redundant_pub_crate,
    clippy::wildcard_imports
)]

use p2prpc::prelude::*;

/// A service that no one uses.
#[p2p_service]
trait Greeter {
    /// Greets.
    async fn greet(&self) -> String;
    /// Several.
    async fn several(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) -> Result<u8, String>;
}

/// A service that all may use.
#[p2p_service]
pub trait Public {
    /// Greets.
    async fn greet(&self, cx: &Context, of: Vec<u8>) -> String;
}

#[test]
fn it_compiles() {
    assert_eq!(<greeter::Greet as Method>::NAME, "Greeter.Greet");
}
