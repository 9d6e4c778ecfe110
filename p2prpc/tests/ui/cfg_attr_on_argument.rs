use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, #[cfg_attr(unix, cfg(unix))] argument: u8); //~ cfg_attr(unix, cfg(unix)) => an argument cannot depend on `cfg`: caller and server must agree on it. Put the `cfg` on the method
}
