use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, _: u8); //~ _ => an argument has a plain name, not a pattern: it travels under that name
}
