//! What the signature of a method may be.

use syn::{Attribute, FnArg, Pat, PatType, Receiver, ReturnType, Signature, Type};

use crate::attributes::{has_cfg, is_lint, is_serdes};
use crate::misuses::Misuses;
use crate::model::{Argument, Parameter, Returns, StreamArgument};
use crate::types::{Role, check_return, is_result, returned_stream, role, stream_return};

pub(crate) struct MethodSignature {
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) returns: Returns,
}

/// Reads a signature. The attributes of arguments that belong on the struct of arguments are taken out.
pub(crate) fn read(signature: &mut Signature, misuses: &mut Misuses) -> MethodSignature {
    check_qualifiers(signature, misuses);
    match signature.receiver() {
        Some(receiver) => check_receiver(receiver, misuses),
        None => misuses.at(&signature.ident, "a method of a service takes `&self`"),
    }
    let mut parameters = Vec::new();
    let mut has_context = false;
    for input in &mut signature.inputs {
        let FnArg::Typed(input) = input else { continue };
        match role(&input.ty, misuses) {
            Role::Context(span) => {
                if has_context {
                    misuses.at(&input.ty, "one `&Context` is enough: there is one for each call");
                }
                has_context = true;
                check_context_pattern(&input.pat, misuses);
                for attr in input.attrs.iter().filter(|attr| has_cfg(attr)) {
                    cfg_on_argument(attr, misuses);
                }
                parameters.push(Parameter::Context(span));
            }
            Role::Stream(item) => {
                if parameters.iter().any(|parameter| matches!(parameter, Parameter::Stream(_))) {
                    misuses.at(&input.ty, "one stream is enough: let its items be an enum");
                }
                let stream = read_argument(input, misuses);
                parameters.extend(stream.map(|argument| {
                    let Argument { ident, lints, .. } = argument;
                    Parameter::Stream(Box::new(StreamArgument { ident, item: *item, lints }))
                }));
            }
            Role::Argument => parameters.extend(read_argument(input, misuses).map(Box::new).map(Parameter::Argument)),
        }
    }
    MethodSignature { parameters, returns: read_return(&signature.output, misuses) }
}

fn check_qualifiers(signature: &Signature, misuses: &mut Misuses) {
    if let Some(token) = &signature.constness {
        misuses.at(token, "a method of a service cannot be `const`: it runs on another machine");
    }
    if let Some(token) = &signature.unsafety {
        misuses.at(token, "a method of a service cannot be `unsafe`: its callers are on other machines");
    }
    if let Some(abi) = &signature.abi {
        misuses.at(abi, "a method of a service has no ABI of its own: leave `extern` out");
    }
    if signature.asyncness.is_none() {
        misuses.at(signature.fn_token, "a method of a service is an `async fn`");
    }
    if !signature.generics.params.is_empty() {
        misuses.at(
            &signature.generics,
            "a method of a service cannot be generic: both sides must know the types that travel",
        );
    }
    if let Some(clause) = &signature.generics.where_clause {
        misuses.at(clause, "a method of a service cannot have a `where` clause");
    }
    if let Some(variadic) = &signature.variadic {
        misuses.at(variadic, "a method of a service cannot be variadic: take a `Vec`");
    }
}

fn check_receiver(receiver: &Receiver, misuses: &mut Misuses) {
    if receiver.colon_token.is_some() {
        misuses.at(&receiver.ty, "a method of a service takes `&self`, not a `self` of another type");
    } else if let Some((_, lifetime)) = &receiver.reference {
        if let Some(mutability) = &receiver.mutability {
            misuses.at(
                mutability,
                "calls share their service: take `&self`, and put what changes into a lock or an atomic",
            );
        }
        if let Some(lifetime) = lifetime {
            misuses.at(lifetime, "`&self` is borrowed for the call: leave the lifetime out");
        }
    } else {
        misuses.at(receiver.self_token, "calls share their service: take `&self`, not `self`");
    }
}

fn check_context_pattern(pattern: &Pat, misuses: &mut Misuses) {
    if !matches!(pattern, Pat::Wild(_)) && plain_name(pattern).is_none() {
        misuses.at(pattern, "the context is taken by a plain name, or `_`");
    }
}

fn read_argument(input: &mut PatType, misuses: &mut Misuses) -> Option<Argument> {
    for attr in input.attrs.iter().filter(|attr| has_cfg(attr)) {
        cfg_on_argument(attr, misuses);
    }
    let field_attrs: Vec<_> = input.attrs.extract_if(.., |attr| !stays_on_parameter(attr)).collect();
    let lints = input.attrs.iter().filter(|attr| is_lint(&attr.meta)).cloned().collect();
    let Some(ident) = plain_name(&input.pat) else {
        misuses.at(&input.pat, "an argument has a plain name, not a pattern: it travels under that name");
        return None;
    };
    let by_serde_attribute = field_attrs.iter().any(is_serdes);
    Some(Argument { ident: ident.clone(), ty: Type::clone(&input.ty), by_serde_attribute, field_attrs, lints })
}

fn cfg_on_argument(attr: &Attribute, misuses: &mut Misuses) {
    misuses.at(
        &attr.meta,
        "an argument cannot depend on `cfg`: caller and server must agree on it. Put the `cfg` on the method",
    );
}

fn stays_on_parameter(attr: &Attribute) -> bool {
    is_lint(&attr.meta) || attr.path().is_ident("expect")
}

/// The name of `name` and `mut name`.
fn plain_name(pattern: &Pat) -> Option<&syn::Ident> {
    match pattern {
        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => Some(&pattern.ident),
        _ => None,
    }
}

fn read_return(output: &ReturnType, misuses: &mut Misuses) -> Returns {
    match output {
        ReturnType::Default => Returns { ty: None, fallible: false, stream: None },
        ReturnType::Type(_, ty) => {
            let stream = match returned_stream(ty) {
                Some(stream) => stream_return(ty, stream, misuses),
                None => {
                    check_return(ty, misuses);
                    None
                }
            };
            Returns { fallible: is_result(ty), ty: Some(Type::clone(ty)), stream }
        }
    }
}
