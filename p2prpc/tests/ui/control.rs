//! Compiles, or no case proves anything.

use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, cx: &Context, argument: String) -> Result<String, String>;
}
