use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, (a, b): (u8, u8)); //~ (a, b) => an argument has a plain name, not a pattern: it travels under that name
}
