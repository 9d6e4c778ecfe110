//! A service, once it is known to be a good one: all that is rendered comes from here.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use syn::{Attribute, ItemTrait, Path, Type};

use crate::attributes::{Carried, Rate, is_deprecation};
use crate::names::{MethodNames, ServiceNames};
use crate::types::StreamReturn;

pub(crate) struct Service {
    /// The trait as written, without the attributes that are ours.
    pub(crate) item: ItemTrait,
    /// Where the library is.
    pub(crate) krate: Path,
    pub(crate) names: ServiceNames,
    /// The name on the wire.
    pub(crate) wire_name: String,
    /// The name by which Go peers know it.
    pub(crate) gorpc_name: Option<String>,
    pub(crate) gorpc_strict: bool,
    /// The documentation, as an expression.
    pub(crate) doc_text: TokenStream,
    pub(crate) carried: Carried,
    pub(crate) methods: Vec<Method>,
    /// Pairs of methods of which at most one may be there once `cfg` has been applied.
    pub(crate) clashes: Vec<Clash>,
}

impl Service {
    /// True if its own code may name something deprecated.
    pub(crate) fn is_deprecated(&self) -> bool {
        let is_deprecated = |carried: &Carried| carried.lints.iter().any(is_deprecation);
        is_deprecated(&self.carried) || self.methods.iter().any(|method| is_deprecated(&method.carried))
    }
}

pub(crate) struct Method {
    pub(crate) ident: Ident,
    pub(crate) names: MethodNames,
    /// The name on the wire, without that of the service.
    pub(crate) wire_name: String,
    /// `Service.Method`.
    pub(crate) full_name: String,
    /// The token that gives the wire name.
    pub(crate) named_at: Span,
    pub(crate) idempotent: bool,
    pub(crate) spawn: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_in_flight: Option<u32>,
    pub(crate) rate: Option<Rate>,
    pub(crate) max_request: Option<usize>,
    pub(crate) max_reply: Option<usize>,
    /// An older name on the wire, without that of the service.
    pub(crate) or: Option<String>,
    pub(crate) doc_text: TokenStream,
    pub(crate) carried: Carried,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) returns: Returns,
}

impl Method {
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.parameters.iter().filter_map(|parameter| match parameter {
            Parameter::Argument(argument) => Some(&**argument),
            Parameter::Context(_) | Parameter::Stream(_) => None,
        })
    }

    /// What is streamed to it.
    pub(crate) fn stream(&self) -> Option<&StreamArgument> {
        self.parameters.iter().find_map(|parameter| match parameter {
            Parameter::Stream(stream) => Some(&**stream),
            _ => None,
        })
    }

    /// True if it gives a stream.
    pub(crate) fn gives_stream(&self) -> bool {
        self.returns.stream.is_some()
    }

    pub(crate) fn takes_context(&self) -> bool {
        self.parameters.iter().any(|parameter| matches!(parameter, Parameter::Context(_)))
    }
}

pub(crate) enum Parameter {
    /// `&Context`, at this place.
    Context(Span),
    Argument(Box<Argument>),
    Stream(Box<StreamArgument>),
}

/// An argument of the type `Streaming<item>`.
pub(crate) struct StreamArgument {
    pub(crate) ident: Ident,
    pub(crate) item: Type,
    /// Lint levels, for each place the name stands in.
    pub(crate) lints: Vec<Attribute>,
}

pub(crate) struct Argument {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    /// The type need not implement serde's traits itself: an attribute may say how it travels.
    pub(crate) by_serde_attribute: bool,
    /// What belongs on the field: serde's attributes, documentation.
    pub(crate) field_attrs: Vec<Attribute>,
    /// Lint levels, for each place the name stands in.
    pub(crate) lints: Vec<Attribute>,
}

pub(crate) struct Returns {
    /// `None` for no return type.
    pub(crate) ty: Option<Type>,
    /// True if it is a `Result`.
    pub(crate) fallible: bool,
    /// If it is a stream, or a `Result` of one.
    pub(crate) stream: Option<StreamReturn>,
}

pub(crate) struct Clash {
    pub(crate) cfg: Vec<Attribute>,
    pub(crate) at: Span,
    pub(crate) message: String,
}
