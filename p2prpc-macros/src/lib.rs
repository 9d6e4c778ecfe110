//! The `#[p2p_service]` attribute of [p2prpc](https://docs.rs/p2prpc), which passes it on and documents it.

mod attributes;
mod clashes;
mod crates;
mod fingerprint;
mod misuses;
mod model;
mod names;
mod read;
mod render;
mod signature;
mod types;

#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;

/// The attribute lives in `p2prpc-macros`; depend on `p2prpc`, which passes it on.
#[proc_macro_attribute]
pub fn p2p_service(attr: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(attr.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

fn expand(attr: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    Ok(render::render(&read::read(attr, item)?))
}
