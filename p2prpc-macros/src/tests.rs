//! The expansion as a function, without a compiler around it.

use std::fs;
use std::path::Path;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, Item, Meta};

use crate::expand;

/// Where the compiler speaks after the expansion, not the expansion itself.
const COMPILERS_OWN: [&str; 9] = [
    "context_by_value.rs",
    "control.rs",
    "duplicate_name_under_cfg.rs",
    "error_of_std.rs",
    "error_without_display.rs",
    "forgotten_peer.rs",
    "missing_send.rs",
    "not_serde.rs",
    "private_type.rs",
];

fn expanded(item: TokenStream) -> syn::File {
    let tokens = expand(TokenStream::new(), item).expect("a good service");
    syn::parse2(tokens).expect("items")
}

fn messages(attr: TokenStream, item: TokenStream) -> Vec<String> {
    match expand(attr, item) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
    }
}

/// The cases that the compiler is given elsewhere, by words only: a place has no meaning outside the compiler.
#[test]
fn every_misuse_is_told() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../p2prpc/tests/ui");
    let mut told = 0;
    let of_feature = cases.join(if cfg!(feature = "gorpc") { "gorpc" } else { "no_gorpc" });
    for case in fs::read_dir(&cases).expect("cases").chain(fs::read_dir(of_feature).expect("cases")) {
        let path = case.expect("a case").path();
        if path.is_dir() {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        if COMPILERS_OWN.contains(&name) {
            continue;
        }
        let source = fs::read_to_string(&path).expect("a case");
        let expected: Vec<_> = source.lines().filter_map(|line| line.split_once("//~")?.1.split_once(" => ")).collect();
        let found = messages_of_file(&source);
        assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
        for (_, expected) in expected {
            assert!(found.iter().any(|found| found.contains(expected)), "{name}: {found:?}");
            told += 1;
        }
    }
    assert!(told > 60, "{told} only");
}

fn messages_of_file(source: &str) -> Vec<String> {
    let file = syn::parse_file(source).expect("Rust");
    let mut found = Vec::new();
    for mut item in file.items {
        let attrs = match &mut item {
            Item::Trait(item) => &mut item.attrs,
            Item::Struct(item) => &mut item.attrs,
            Item::Enum(item) => &mut item.attrs,
            Item::Impl(item) => &mut item.attrs,
            Item::Mod(item) => &mut item.attrs,
            Item::Fn(item) => &mut item.attrs,
            _ => continue,
        };
        let is_ours = |attr: &Attribute| attr.path().is_ident("p2p_service");
        let Some(index) = attrs.iter().position(is_ours) else { continue };
        let attr = match attrs.remove(index).meta {
            Meta::List(list) => list.tokens,
            _ => TokenStream::new(),
        };
        found.extend(messages(attr, item.into_token_stream()));
    }
    found
}

#[test]
fn a_service_becomes_items() {
    let file = expanded(quote! {
        pub trait Echo {
            async fn echo(&self, message: String) -> String;
        }
    });
    let names: Vec<_> = file.items.iter().filter_map(name).collect();
    assert_eq!(
        names,
        [
            "Echo",
            "__p2prpc_methods_of_Echo",
            "__P2prpcArgs_Echo_Echo",
            "EchoServer",
            "__P2prpcLocal_Echo",
            "EchoClient",
            "EchoPeer",
            "EchoPeers",
            "EchoAny",
            "__P2prpcNobody_Echo"
        ]
    );
}

fn name(item: &Item) -> Option<String> {
    Some(match item {
        Item::Trait(item) => item.ident.to_string(),
        Item::Mod(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        _ => return None,
    })
}

#[test]
fn what_goes_wrong_leaves_no_items() {
    let tokens = expand(
        TokenStream::new(),
        quote!(
            pub trait Echo {
                fn echo(&self);
            }
        ),
    );
    let errors = tokens.expect_err("a misuse").into_compile_error();
    let file: syn::File = syn::parse2(errors).expect("items");
    assert!(file.items.iter().all(|item| matches!(item, Item::Macro(_))));
}

#[test]
fn all_paths_begin_at_the_library_or_the_core() {
    let file = expanded(quote! {
        trait Echo {
            async fn echo(&self, cx: &Context, message: String) -> Result<String, Problem>;
        }
    });
    let text = file.into_token_stream().to_string();
    for name in ["p2prpc", "core", "std"] {
        assert!(text.contains(&format!(":: {name} ::")), "{name}");
        assert_eq!(
            text.matches(&format!("{name} ::")).count(),
            text.matches(&format!(":: {name} ::")).count(),
            "{name}"
        );
    }
}

#[test]
fn the_library_may_be_elsewhere() {
    let item = quote! { trait Echo { async fn echo(&self); } };
    let tokens = expand(quote!(crate = "crate"), item).expect("a good service").to_string();
    assert!(tokens.contains("\"crate::__private::serde\""));
    assert!(tokens.contains("for crate :: Service"));
    assert!(!tokens.contains(":: p2prpc ::") && !tokens.contains("\"::p2prpc"));
}

#[test]
fn what_cannot_be_parsed_is_an_error() {
    assert_eq!(messages(TokenStream::new(), quote!(1 + 1)).len(), 1);
    assert_eq!(
        messages(
            quote!(= 3),
            quote!(
                trait Echo {}
            )
        )
        .len(),
        1
    );
    assert_eq!(
        messages(
            quote!(name = "a b"),
            quote!(
                struct Echo;
            )
        ),
        ["`#[p2p_service]` goes on a trait"]
    );
    let both = messages(
        quote!(nam),
        quote!(
            struct Echo;
        ),
    );
    assert_eq!(both.len(), 2, "{both:?}");
}
