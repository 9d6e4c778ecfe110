use p2prpc::prelude::*;

#[p2p_service]
pub trait Service {
    async fn method(&self, #[cfg(unix)] cx: &Context); //~ cfg(unix) => an argument cannot depend on `cfg`
}
