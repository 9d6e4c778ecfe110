//! From the tokens of a trait to a [`Service`], or to all that is wrong with it.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Error, Item, ItemTrait, LitStr, Path, Result, TraitItem, TraitItemFn};

use crate::attributes::{Carried, MethodOptions, ServiceOptions, doc_text};
use crate::clashes;
use crate::misuses::Misuses;
use crate::model::{Method, Parameter, Service};
use crate::names::{
    MethodNames, RESERVED_PREFIX, ServiceNames, check_full_name, check_gorpc_name, check_gorpc_names, check_wire_name,
    method_wire_name,
};
use crate::signature;

pub(crate) fn read(attr: TokenStream, item: TokenStream) -> Result<Service> {
    let mut misuses = Misuses::default();
    let options = ServiceOptions::parse(attr, &mut misuses);
    let service = syn::parse2::<Item>(item).and_then(|item| match item {
        Item::Trait(item) => Ok(read_trait(options, item, &mut misuses)),
        other => Err(not_a_trait(&other)),
    });
    misuses.finish(service)
}

fn read_trait(options: ServiceOptions, mut item: ItemTrait, misuses: &mut Misuses) -> Service {
    check_trait(&item, misuses);
    let (wire_name, named_at) = wire_name(options.name, item.ident.unraw().to_string(), item.ident.span());
    if let Err(message) = check_wire_name(&wire_name) {
        misuses.at_span(named_at, message);
    }
    if wire_name.starts_with(RESERVED_PREFIX) && !options.internal {
        misuses
            .at_span(named_at, format!("names that begin with `{RESERVED_PREFIX}` are p2prpc's own: choose another"));
    }
    let gorpc_name = options.gorpc.map(|given| {
        if let Err(message) = check_gorpc_name(&given.value()) {
            misuses.at(&given, message);
        }
        given.value()
    });
    let service = ServiceIdent { ident: item.ident.clone(), wire_name, gorpc_name };
    let mut methods = Vec::new();
    for item in &mut item.items {
        match item {
            TraitItem::Fn(function) => methods.push(read_method(&service, function, misuses)),
            TraitItem::Type(other) => misuses
                .at(other.type_token, "a service has methods only: name the type itself where the methods use it"),
            TraitItem::Const(other) => {
                misuses.at(other.const_token, "a service has methods only: put the constant outside the trait");
            }
            other => misuses.at(other, "a service has methods only: write them out"),
        }
    }
    let clashes = clashes::find(&methods, misuses);
    let carried = Carried::from(&item.attrs);
    Service {
        krate: options.krate.unwrap_or_else(|| syn::parse_quote!(::p2prpc)),
        names: ServiceNames::of(&item.ident, options.module),
        wire_name: service.wire_name,
        gorpc_name: service.gorpc_name,
        gorpc_strict: options.gorpc_strict,
        doc_text: doc_text(&item.attrs, Span::mixed_site()),
        carried,
        methods,
        clashes,
        item,
    }
}

struct ServiceIdent {
    ident: syn::Ident,
    wire_name: String,
    gorpc_name: Option<String>,
}

fn not_a_trait(item: &Item) -> Error {
    let message = "`#[p2p_service]` goes on a trait";
    match item {
        Item::Struct(item) => Error::new(item.struct_token.span, message),
        Item::Enum(item) => Error::new(item.enum_token.span, message),
        Item::Union(item) => Error::new(item.union_token.span, message),
        Item::Impl(item) => Error::new(item.impl_token.span, message),
        Item::Fn(item) => Error::new(item.sig.fn_token.span, message),
        Item::Mod(item) => Error::new(item.mod_token.span, message),
        other => Error::new(other.span(), message),
    }
}

fn check_trait(item: &ItemTrait, misuses: &mut Misuses) {
    if let Some(token) = &item.unsafety {
        misuses.at(token, "a service cannot be `unsafe`: callers are on other machines");
    }
    if let Some(token) = &item.auto_token {
        misuses.at(token, "a service cannot be an `auto` trait");
    }
    if !item.generics.params.is_empty() {
        misuses.at(&item.generics, "a service cannot be generic: both sides must know the types that travel");
    }
    if let Some(clause) = &item.generics.where_clause {
        misuses.at(clause, "a service cannot have a `where` clause");
    }
    for attr in item.attrs.iter().filter(|attr| attr.path().is_ident("rpc")) {
        misuses.at(attr.path(), "`rpc` goes on a method; a service is named by `#[p2p_service(name = \"..\")]`");
    }
}

fn read_method(service: &ServiceIdent, function: &mut TraitItemFn, misuses: &mut Misuses) -> Method {
    let options = MethodOptions::take(&mut function.attrs, misuses);
    let signature = signature::read(&mut function.sig, misuses);
    let ident = function.sig.ident.clone();
    let (wire_name, named_at) = wire_name(options.name, method_wire_name(&ident), ident.span());
    let full_name = format!("{}.{wire_name}", service.wire_name);
    if let Err(message) = check_wire_name(&wire_name).and_then(|()| check_full_name(&full_name)) {
        misuses.at_span(named_at, message);
    }
    let gorpc = service.gorpc_name.as_deref();
    if let Some(Err(message)) = gorpc.map(|service| check_gorpc_names(service, &wire_name)) {
        misuses.at_span(named_at, message);
    }
    let or = options.or.map(|older| {
        let (name, full) = (older.value(), format!("{}.{}", service.wire_name, older.value()));
        if let Err(message) = check_wire_name(&name).and_then(|()| check_full_name(&full)) {
            misuses.at(&older, message);
        } else if name == wire_name {
            misuses.at(&older, "the older name is the name: `or` is for a method that was called otherwise");
        } else if signature.returns.stream.is_some() || has_stream(&signature.parameters) {
            misuses.at(&older, "a streaming method has one name: `or` is for methods that are answered once");
        }
        name
    });
    Method {
        names: MethodNames::of(&service.ident, &ident),
        ident,
        wire_name,
        full_name,
        named_at,
        idempotent: options.idempotent,
        spawn: options.spawn,
        timeout: options.timeout,
        max_in_flight: options.max_in_flight,
        rate: options.rate,
        max_request: options.max_request,
        max_reply: options.max_reply,
        or,
        doc_text: doc_text(&function.attrs, Span::mixed_site()),
        carried: Carried::from(&function.attrs),
        parameters: signature.parameters,
        returns: signature.returns,
    }
}

fn has_stream(parameters: &[Parameter]) -> bool {
    parameters.iter().any(|parameter| matches!(parameter, Parameter::Stream(_)))
}

/// The name that was given or else the default, and the token it comes from.
fn wire_name(given: Option<LitStr>, default: String, ident: Span) -> (String, Span) {
    given.map_or((default, ident), |given| (given.value(), given.span()))
}

/// The path as it is written in a string, for serde's attribute.
pub(crate) fn path_text(path: &Path) -> String {
    path.to_token_stream().to_string().replace(' ', "")
}
