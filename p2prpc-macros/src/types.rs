//! What the types of a method's arguments and of its result may be.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericArgument, Path, PathArguments, PathSegment, Type, TypeParamBound, TypeReference};

use crate::misuses::Misuses;

const STREAMING: &str = "streaming methods are not supported yet";

/// What a parameter is.
pub(crate) enum Role {
    /// `&Context`: from the library, not from the caller.
    Context(Span),
    Argument,
}

pub(crate) fn role(ty: &Type, misuses: &mut Misuses) -> Role {
    let Type::Reference(reference) = peel(ty) else {
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
    if is_streaming(ty) {
        return misuses.at(ty, STREAMING);
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

pub(crate) fn check_return(ty: &Type, misuses: &mut Misuses) {
    if is_streaming(ty) {
        return misuses.at(ty, STREAMING);
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
    if let Some(error) = result_error(ty)
        && last_segment(error).is_some_and(|segment| segment.ident == "RpcError")
    {
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

/// True for `Streaming<..>`, `impl Stream`, and a `Result` of one of them.
fn is_streaming(ty: &Type) -> bool {
    let named = |path: &Path, name| path.segments.last().is_some_and(|segment| segment.ident == name);
    match peel(ty) {
        Type::ImplTrait(implemented) => implemented
            .bounds
            .iter()
            .any(|bound| matches!(bound, TypeParamBound::Trait(bound) if named(&bound.path, "Stream"))),
        Type::Path(path) if named(&path.path, "Streaming") => true,
        Type::Path(path) if named(&path.path, "Result") => {
            let Some(PathSegment { arguments: PathArguments::AngleBracketed(arguments), .. }) =
                path.path.segments.last()
            else {
                return false;
            };
            matches!(arguments.args.first(), Some(GenericArgument::Type(ty)) if is_streaming(ty))
        }
        _ => false,
    }
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
