//! What the types of a method's arguments and of its result may be.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericArgument, Path, PathArguments, PathSegment, Type, TypeParamBound, TypeReference};

use crate::misuses::Misuses;

/// What a parameter is.
pub(crate) enum Role {
    /// `&Context`: from the library, not from the caller.
    Context(Span),
    /// `Streaming<T>`: what is streamed to the method, items of this type.
    Stream(Box<Type>),
    Argument,
}

/// `impl Stream<Item = T>`, or a `Result` of it.
pub(crate) struct StreamReturn {
    pub(crate) item: Type,
    pub(crate) error: Option<Type>,
}

pub(crate) fn role(ty: &Type, misuses: &mut Misuses) -> Role {
    let Type::Reference(reference) = peel(ty) else {
        if let Some(item) = streamed(ty) {
            check_argument(item, misuses);
            return Role::Stream(Box::new(item.clone()));
        }
        check_argument(ty, misuses);
        return Role::Argument;
    };
    if last_segment(&reference.elem).is_none_or(|segment| segment.ident != "Context") {
        misuses.at(reference, "arguments are owned; only `&p2prpc::Context` may be borrowed");
        return Role::Argument;
    }
    check_context(reference, misuses);
    Role::Context(first_span(ty))
}

fn check_context(reference: &TypeReference, misuses: &mut Misuses) {
    if let Some(lifetime) = &reference.lifetime {
        misuses.at(lifetime, "the context is borrowed for the call: write `&Context`, without a lifetime");
    }
    if let Some(mutability) = &reference.mutability {
        misuses.at(mutability, "the context is read only: write `&Context`");
    }
}

fn check_argument(ty: &Type, misuses: &mut Misuses) {
    if is_stream_bound(ty) {
        return misuses.at(ty, "a method takes a stream as `Streaming<T>`: name its items' type there");
    }
    if let Some(span) = find_streaming(ty.to_token_stream()) {
        return misuses.at_span(span, "`Streaming<T>` is an argument by itself, with one type of items");
    }
    match find_foreign(ty.to_token_stream()) {
        Some(Foreign::Reference(span)) => {
            misuses.at_span(span, "arguments are owned; only `&p2prpc::Context` may be borrowed");
        }
        Some(Foreign::Lifetime(span)) => {
            misuses.at_span(span, "arguments are owned: the only lifetime here is `'static`")
        }
        Some(Foreign::Impl(span)) => {
            misuses.at_span(span, "`impl Trait` makes a method generic: name the type of the argument");
        }
        Some(Foreign::SelfType(span)) => misuses.at_span(span, "the caller does not know `Self`: name the type"),
        None => {}
    }
}

/// The stream that a method returns, by itself or in a `Result`.
pub(crate) fn returned_stream(ty: &Type) -> Option<&Type> {
    let stream = if is_result(ty) { result_types(ty).next()? } else { ty };
    is_stream_bound(stream).then_some(stream)
}

/// Reads what a method returns that gives a stream.
pub(crate) fn stream_return(ty: &Type, stream: &Type, misuses: &mut Misuses) -> Option<StreamReturn> {
    let Some(item) = item_of(stream) else {
        misuses.at(stream, "name the type of the items: `impl Stream<Item = T>`");
        return None;
    };
    check_return(&item, misuses);
    let error = result_error(ty).cloned();
    match &error {
        Some(error) => check_error(error, misuses),
        None if is_result(ty) => {
            misuses.at(ty, "write both types of the `Result` out: `Result<impl Stream<Item = T>, E>`")
        }
        None => {}
    }
    Some(StreamReturn { item, error })
}

/// `T` of `impl Stream<Item = T>`.
fn item_of(stream: &Type) -> Option<Type> {
    let Type::ImplTrait(implemented) = peel(stream) else { return None };
    implemented.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let PathArguments::AngleBracketed(arguments) = &bound.path.segments.last()?.arguments else { return None };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(item) if item.ident == "Item" => Some(item.ty.clone()),
            _ => None,
        })
    })
}

/// Lets a stream that is returned be `Send`.
pub(crate) fn let_streams_be_send(ty: &mut Type) {
    match ty {
        Type::Group(group) => let_streams_be_send(&mut group.elem),
        Type::Paren(paren) => let_streams_be_send(&mut paren.elem),
        Type::ImplTrait(implemented) => implemented.bounds.push(syn::parse_quote!(::core::marker::Send)),
        Type::Path(path) => {
            let arguments = path.path.segments.last_mut().map(|segment| &mut segment.arguments);
            if let Some(PathArguments::AngleBracketed(arguments)) = arguments
                && let Some(GenericArgument::Type(first)) = arguments.args.first_mut()
                && is_stream_bound(first)
            {
                let_streams_be_send(first);
            }
        }
        _ => {}
    }
}

pub(crate) fn check_return(ty: &Type, misuses: &mut Misuses) {
    if let Some(span) = find_streaming(ty.to_token_stream()) {
        return misuses
            .at_span(span, "a method gives a stream as `impl Stream<Item = T>`; `Streaming` is what it takes");
    }
    if is_stream_bound(ty) {
        return misuses.at(ty, "a stream is given by itself, or as what a `Result` gives when it goes well");
    }
    match find_foreign(ty.to_token_stream()) {
        Some(Foreign::Reference(span)) => {
            misuses.at_span(span, "what a method returns is owned: it travels to the caller")
        }
        Some(Foreign::Lifetime(span)) => {
            misuses.at_span(span, "what a method returns is owned: the only lifetime here is `'static`");
        }
        Some(Foreign::Impl(span)) => {
            misuses.at_span(span, "the caller must know what comes back: name the type that the method returns");
        }
        Some(Foreign::SelfType(span)) => misuses.at_span(span, "the caller does not know `Self`: name the type"),
        None => {}
    }
    if let Some(error) = result_error(ty) {
        check_error(error, misuses);
    }
}

fn check_error(error: &Type, misuses: &mut Misuses) {
    if last_segment(error).is_some_and(|segment| segment.ident == "RpcError") {
        misuses.at(
            error,
            "`RpcError` is what the library says of a call: return an error of your own, the caller gets `CallError` with either",
        );
    }
}

/// True if the last segment of the type is `Result`.
pub(crate) fn is_result(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == "Result")
}

/// The second generic argument of a `Result`.
fn result_error(ty: &Type) -> Option<&Type> {
    result_types(ty).nth(1)
}

/// The types that are written out of a `Result`.
pub(crate) fn result_types(ty: &Type) -> impl Iterator<Item = &Type> {
    let segment = last_segment(ty).filter(|segment| segment.ident == "Result");
    let arguments = match segment.map(|segment| &segment.arguments) {
        Some(PathArguments::AngleBracketed(arguments)) => Some(&arguments.args),
        _ => None,
    };
    arguments.into_iter().flatten().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// `T` of `Streaming<T>`.
fn streamed(ty: &Type) -> Option<&Type> {
    let segment = last_segment(ty).filter(|segment| segment.ident == "Streaming")?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    match (arguments.args.first(), arguments.args.len()) {
        (Some(GenericArgument::Type(item)), 1) => Some(item),
        _ => None,
    }
}

/// True for `impl Stream`.
fn is_stream_bound(ty: &Type) -> bool {
    let named = |path: &Path| path.segments.last().is_some_and(|segment| segment.ident == "Stream");
    let Type::ImplTrait(implemented) = peel(ty) else { return false };
    implemented.bounds.iter().any(|bound| matches!(bound, TypeParamBound::Trait(bound) if named(&bound.path)))
}

/// Where `Streaming` stands within a type.
fn find_streaming(tokens: TokenStream) -> Option<Span> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(name) if name == "Streaming" => Some(name.span()),
        TokenTree::Group(group) => find_streaming(group.stream()),
        _ => None,
    })
}

/// The type itself, out of parentheses and of the invisible groups that `macro_rules` makes.
fn peel(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => peel(&group.elem),
        Type::Paren(paren) => peel(&paren.elem),
        other => other,
    }
}

/// The last segment of a path.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match peel(ty) {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

fn first_span(tokens: impl ToTokens) -> Span {
    tokens.into_token_stream().into_iter().next().map_or_else(Span::call_site, |token| token.span())
}

/// What has no meaning outside the trait, or outside one process.
enum Foreign {
    Reference(Span),
    Lifetime(Span),
    Impl(Span),
    SelfType(Span),
}

fn find_foreign(tokens: TokenStream) -> Option<Foreign> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let found = match &token {
            TokenTree::Group(group) => find_foreign(group.stream()),
            TokenTree::Punct(punct) if punct.as_char() == '&' => Some(Foreign::Reference(punct.span())),
            TokenTree::Punct(punct) if punct.as_char() == '\'' => match tokens.next() {
                Some(TokenTree::Ident(name)) if name == "static" => None,
                Some(name) => Some(Foreign::Lifetime(name.span())),
                None => None,
            },
            TokenTree::Ident(ident) if ident == "impl" => Some(Foreign::Impl(ident.span())),
            TokenTree::Ident(ident) if ident == "Self" => Some(Foreign::SelfType(ident.span())),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}
