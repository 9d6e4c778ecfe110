//! The `#[p2p_service]` attribute of p2prpc.

mod attributes;
mod clashes;
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

/// Makes a server and a typed client from a trait.
#[proc_macro_attribute]
pub fn p2p_service(attr: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(attr.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

fn expand(attr: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    Ok(render::render(&read::read(attr, item)?))
}
