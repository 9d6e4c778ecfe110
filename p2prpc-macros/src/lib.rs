//! tmp
/// tmp
#[proc_macro_attribute]
pub fn p2p_service(_: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    item
}
