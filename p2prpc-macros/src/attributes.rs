//! The options of `#[p2p_service(..)]` and `#[rpc(..)]`, and which other attributes are carried onto generated code.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Expr, ExprLit, Lit, LitStr, Meta, Path, Result, Token};

use crate::misuses::Misuses;

/// What `#[p2p_service(..)]` says.
#[derive(Default)]
pub(crate) struct ServiceOptions {
    pub(crate) name: Option<LitStr>,
    /// Where the library is, if not at `::p2prpc`.
    pub(crate) krate: Option<Path>,
    /// The name by which Go peers know the service.
    pub(crate) gorpc: Option<LitStr>,
    /// Structs of Go peers whose fields seem to have other names there are errors.
    pub(crate) gorpc_strict: bool,
    /// The name of the module of the methods' types.
    pub(crate) module: Option<Ident>,
    /// One of the library's own services, which may have a reserved name. It is for the library and its tests.
    pub(crate) internal: bool,
}

/// The options that `#[p2p_service(..)]` takes, as they are listed for whoever writes another.
const SERVICE_OPTIONS: &str = if cfg!(feature = "gorpc") {
    "there are `name = \"..\"`, `gorpc = \"..\"` and `crate = \"..\"`, `module = \"..\"`, and `gorpc_strict`"
} else {
    "there are `name = \"..\"` and `crate = \"..\"`, and `module = \"..\"`"
};

impl ServiceOptions {
    pub(crate) fn parse(attr: TokenStream, misuses: &mut Misuses) -> Self {
        let mut options = ServiceOptions::default();
        for meta in parse_list(attr, misuses) {
            if meta.path().is_ident("name") {
                let name = misuses.note(string(&meta));
                set_once(&mut options.name, name, &meta, misuses);
            } else if meta.path().is_ident("crate") {
                let path = misuses.note(string(&meta)).and_then(|path| misuses.note(parse_path(&path)));
                set_once(&mut options.krate, path, &meta, misuses);
            } else if meta.path().is_ident("internal") {
                set_flag(&mut options.internal, &meta, misuses);
            } else if meta.path().is_ident("module") {
                let name = misuses.note(string(&meta)).and_then(|name| misuses.note(parse_module(&name)));
                set_once(&mut options.module, name, &meta, misuses);
            } else if meta.path().is_ident("gorpc") && cfg!(feature = "gorpc") {
                let name = misuses.note(string(&meta));
                set_once(&mut options.gorpc, name, &meta, misuses);
            } else if meta.path().is_ident("gorpc_strict") && cfg!(feature = "gorpc") {
                set_flag(&mut options.gorpc_strict, &meta, misuses);
            } else if meta.path().is_ident("gorpc") {
                misuses.at(meta.path(), "`gorpc` needs the feature `gorpc` of p2prpc: turn it on in Cargo.toml");
            } else {
                misuses.at(meta.path(), format!("unknown option of `#[p2p_service]`: {SERVICE_OPTIONS}"));
            }
        }
        options
    }
}

/// What the `#[rpc(..)]` attributes of a method say.
#[derive(Default)]
pub(crate) struct MethodOptions {
    pub(crate) name: Option<LitStr>,
    pub(crate) idempotent: bool,
    pub(crate) spawn: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_in_flight: Option<u32>,
    pub(crate) rate: Option<Rate>,
    pub(crate) max_request: Option<usize>,
    pub(crate) max_reply: Option<usize>,
    /// An older name on the wire.
    pub(crate) or: Option<LitStr>,
}

/// So many calls in so long.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) calls: u32,
    pub(crate) time: Duration,
}

/// The options that `#[rpc(..)]` takes, as they are listed for whoever writes another.
const METHOD_OPTIONS: &str = "there are `name = \"..\"`, `timeout = \"60s\"`, `max_in_flight = 3`, `rate = \"10/s\"`, `max_request = \"64 KiB\"`, `max_reply = \"64 KiB\"`, `or = \"OldName\"`, `idempotent` and `spawn`";

impl MethodOptions {
    /// Reads the `#[rpc(..)]` attributes and takes them out.
    pub(crate) fn take(attrs: &mut Vec<Attribute>, misuses: &mut Misuses) -> Self {
        let mut options = MethodOptions::default();
        for attr in attrs.extract_if(.., |attr| attr.path().is_ident("rpc")) {
            match attr.meta.require_list() {
                Ok(list) => options.read(list.tokens.clone(), misuses),
                Err(_) => {
                    misuses.at(&attr.meta, format!("`rpc` takes options, as `#[rpc(idempotent)]`: {METHOD_OPTIONS}"))
                }
            }
        }
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("cfg_attr")) {
            let hidden =
                parse_cfg_attr(attr).and_then(|(_, metas)| metas.into_iter().find(|meta| meta.path().is_ident("rpc")));
            if let Some(meta) = hidden {
                misuses.at(
                    meta,
                    "`rpc` cannot depend on `cfg_attr`: write the method twice, each with its own `#[cfg(..)]`",
                );
            }
        }
        options
    }

    fn read(&mut self, tokens: TokenStream, misuses: &mut Misuses) {
        for meta in parse_list(tokens, misuses) {
            if meta.path().is_ident("name") {
                let name = misuses.note(string(&meta));
                set_once(&mut self.name, name, &meta, misuses);
            } else if meta.path().is_ident("idempotent") {
                set_flag(&mut self.idempotent, &meta, misuses);
            } else if meta.path().is_ident("spawn") {
                set_flag(&mut self.spawn, &meta, misuses);
            } else if meta.path().is_ident("timeout") {
                let time = misuses.note(string(&meta)).and_then(|text| misuses.note(parse_time(&text)));
                set_once(&mut self.timeout, time, &meta, misuses);
            } else if meta.path().is_ident("max_in_flight") {
                let most = misuses.note(number(&meta));
                set_once(&mut self.max_in_flight, most, &meta, misuses);
            } else if meta.path().is_ident("rate") {
                let rate = misuses.note(string(&meta)).and_then(|text| misuses.note(parse_rate(&text)));
                set_once(&mut self.rate, rate, &meta, misuses);
            } else if meta.path().is_ident("or") {
                let name = misuses.note(string(&meta));
                set_once(&mut self.or, name, &meta, misuses);
            } else if meta.path().is_ident("max_request") {
                let bytes = misuses.note(string(&meta)).and_then(|text| misuses.note(parse_bytes(&text)));
                set_once(&mut self.max_request, bytes, &meta, misuses);
            } else if meta.path().is_ident("max_reply") {
                let bytes = misuses.note(string(&meta)).and_then(|text| misuses.note(parse_bytes(&text)));
                set_once(&mut self.max_reply, bytes, &meta, misuses);
            } else {
                misuses.at(meta.path(), format!("unknown option of `#[rpc]`: {METHOD_OPTIONS}"));
            }
        }
    }
}

fn parse_list(tokens: TokenStream, misuses: &mut Misuses) -> Vec<Meta> {
    let parsed = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(tokens);
    misuses.note(parsed).into_iter().flatten().collect()
}

fn string(meta: &Meta) -> Result<LitStr> {
    if let Meta::NameValue(pair) = meta
        && let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value
    {
        return Ok(text.clone());
    }
    let key = meta.path().to_token_stream();
    Err(Error::new_spanned(meta, format!("`{key}` takes a string: `{key} = \"..\"`")))
}

/// At least 1.
fn number(meta: &Meta) -> Result<u32> {
    if let Meta::NameValue(pair) = meta
        && let Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) = &pair.value
        && let Ok(number @ 1..) = number.base10_parse()
    {
        return Ok(number);
    }
    let key = meta.path().to_token_stream();
    Err(Error::new_spanned(meta, format!("`{key}` takes a number from 1 on: `{key} = 3`")))
}

fn parse_path(text: &LitStr) -> Result<Path> {
    let wrong =
        |_| Error::new_spanned(text, "`crate` takes the path of the library: `crate = \"my::reexport::p2prpc\"`");
    text.parse_with(Path::parse_mod_style).map_err(wrong)
}

fn parse_time(text: &LitStr) -> Result<Duration> {
    let wrong = |reason| Error::new_spanned(text, format!("`timeout` takes a time, as `\"1m 30s\"`: {reason}"));
    match humantime::parse_duration(&text.value()) {
        Ok(Duration::ZERO) => Err(wrong("no call is answered in no time".into())),
        Ok(time) => Ok(time),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// `10/s`, `100/5min`.
fn parse_rate(text: &LitStr) -> Result<Rate> {
    let wrong = || Error::new_spanned(text, "`rate` takes calls in a time, as `\"10/s\"` or `\"100/5min\"`");
    let value = text.value();
    let (calls, time) = value.split_once('/').ok_or_else(wrong)?;
    let calls = calls.trim().parse().ok().filter(|calls| *calls > 0).ok_or_else(wrong)?;
    let time = time.trim();
    let one = if time.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "1" };
    let time = humantime::parse_duration(&format!("{one}{time}")).ok().filter(|time| !time.is_zero());
    Ok(Rate { calls, time: time.ok_or_else(wrong)? })
}

/// `64 KiB`.
fn parse_bytes(text: &LitStr) -> Result<usize> {
    let bytes = text.value().parse::<bytesize::ByteSize>().ok().filter(|bytes| bytes.as_u64() > 0);
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes.as_u64()).ok());
    bytes.ok_or_else(|| Error::new_spanned(text, "a length in bytes is written as `\"64 KiB\"`, and is not 0"))
}

fn parse_module(text: &LitStr) -> Result<Ident> {
    text.parse::<Ident>()
        .map_err(|_| Error::new_spanned(text, "`module` takes the name of a module: `module = \"echo_methods\"`"))
}

fn set_once<T>(option: &mut Option<T>, value: Option<T>, meta: &Meta, misuses: &mut Misuses) {
    if option.is_some() {
        misuses.at(meta, format!("`{}` is given twice", meta.path().to_token_stream()));
    } else {
        *option = value;
    }
}

fn set_flag(flag: &mut bool, meta: &Meta, misuses: &mut Misuses) {
    let key = meta.path().to_token_stream();
    match meta {
        Meta::Path(_) if *flag => misuses.at(meta, format!("`{key}` is given twice")),
        Meta::Path(_) => *flag = true,
        _ => misuses.at(meta, format!("`{key}` takes no value: `#[rpc({key})]`")),
    }
}

/// The attributes of a trait or a method that what is generated for it gets too.
#[derive(Default)]
pub(crate) struct Carried {
    /// Those that decide whether it is there.
    pub(crate) cfg: Vec<Attribute>,
    pub(crate) docs: Vec<Attribute>,
    /// Lint levels and `deprecated`.
    pub(crate) lints: Vec<Attribute>,
}

impl Carried {
    pub(crate) fn from(attrs: &[Attribute]) -> Self {
        let pick = |wanted: fn(&Meta) -> bool| attrs.iter().filter_map(|attr| part(attr, wanted)).collect();
        Carried { cfg: pick(is_cfg), docs: pick(is_doc), lints: pick(is_lint) }
    }
}

fn is_cfg(meta: &Meta) -> bool {
    meta.path().is_ident("cfg")
}

/// The text and `#[doc(hidden)]`; an alias, say, is for the trait itself.
fn is_doc(meta: &Meta) -> bool {
    meta.path().is_ident("doc") && (matches!(meta, Meta::NameValue(_)) || is_hidden(meta))
}

pub(crate) fn is_hidden(meta: &Meta) -> bool {
    matches!(meta, Meta::List(list) if list.path.is_ident("doc") && list.tokens.to_string() == "hidden")
}

/// `expect` is not among them: it would have to be fulfilled in each place.
pub(crate) fn is_lint(meta: &Meta) -> bool {
    ["allow", "warn", "deny", "forbid", "deprecated"].iter().any(|name| meta.path().is_ident(name))
}

/// True if it is `deprecated`, or can become so.
pub(crate) fn is_deprecation(attr: &Attribute) -> bool {
    part(attr, |meta| meta.path().is_ident("deprecated")).is_some()
}

/// True if it is serde's, or can become so.
pub(crate) fn is_serdes(attr: &Attribute) -> bool {
    part(attr, |meta| meta.path().is_ident("serde")).is_some()
}

/// The attribute if it is wanted, or a `cfg_attr` with those of its attributes that are.
fn part(attr: &Attribute, wanted: fn(&Meta) -> bool) -> Option<Attribute> {
    let meta = part_of_meta(&attr.meta, wanted)?;
    Some(Attribute { meta, ..attr.clone() })
}

fn part_of_meta(meta: &Meta, wanted: fn(&Meta) -> bool) -> Option<Meta> {
    if wanted(meta) {
        return Some(meta.clone());
    }
    if !meta.path().is_ident("cfg_attr") {
        return None;
    }
    let Meta::List(list) = meta else { return None };
    let (condition, metas) = parse_cfg_attr_list(list.tokens.clone())?;
    let metas: Vec<_> = metas.iter().filter_map(|meta| part_of_meta(meta, wanted)).collect();
    if metas.is_empty() {
        return None;
    }
    let mut list = list.clone();
    list.tokens = quote!(#condition, #(#metas),*);
    Some(Meta::List(list))
}

/// True if the attribute is a `cfg`, or a `cfg_attr` that can become one.
pub(crate) fn has_cfg(attr: &Attribute) -> bool {
    part(attr, is_cfg).is_some()
}

fn parse_cfg_attr(attr: &Attribute) -> Option<(TokenStream, Vec<Meta>)> {
    let Meta::List(list) = &attr.meta else { return None };
    parse_cfg_attr_list(list.tokens.clone())
}

fn parse_cfg_attr_list(tokens: TokenStream) -> Option<(TokenStream, Vec<Meta>)> {
    // The condition isn't a `Meta` always: `cfg_attr(true, ..)`.
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    let mut tokens = tokens.into_iter().peekable();
    let mut condition = TokenStream::new();
    condition.extend(std::iter::from_fn(|| tokens.next_if(|token| !is_comma(token))));
    tokens.next();
    let metas = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(tokens.collect()).ok()?;
    Some((condition, metas.into_iter().collect()))
}

/// The text of the documentation comments, as an expression of type `&'static str`.
pub(crate) fn doc_text(attrs: &[Attribute], span: Span) -> TokenStream {
    let mut pieces: Vec<Doc<'_>> = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("doc")) {
        let Meta::NameValue(pair) = &attr.meta else { continue };
        match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => pieces.push(Doc::Text(text.value())),
            other => pieces.push(Doc::Computed(other)),
        }
    }
    let text = |text: &str| LitStr::new(text, span);
    if pieces.iter().all(|piece| matches!(piece, Doc::Text(_))) {
        let lines: Vec<_> = pieces.iter().map(Doc::line).collect();
        let all = text(lines.join("\n").trim());
        return quote!(#all);
    }
    let parts = pieces.iter().enumerate().map(|(index, piece)| {
        let newline = if index == 0 { "" } else { "\n" };
        match piece {
            Doc::Text(_) => {
                let line = text(&format!("{newline}{}", piece.line()));
                quote!(#line)
            }
            Doc::Computed(value) => quote!(#newline, #value),
        }
    });
    quote!(::core::concat!(#(#parts),*))
}

enum Doc<'a> {
    Text(String),
    /// `#[doc = include_str!("..")]` and the like.
    Computed(&'a Expr),
}

impl Doc<'_> {
    /// The text without the one space that follows `///`.
    fn line(&self) -> &str {
        match self {
            Doc::Text(text) => text.strip_prefix(' ').unwrap_or(text).trim_end(),
            Doc::Computed(_) => "",
        }
    }
}
