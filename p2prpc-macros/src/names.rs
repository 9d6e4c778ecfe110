//! Names: on the wire, and of the generated items.

use heck::{ToSnakeCase, ToUpperCamelCase};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;

use crate::crates;

/// Services whose names on the wire begin so are the library's own.
pub(crate) const RESERVED_PREFIX: &str = "p2prpc-";

/// The longest `Service.Method`, in bytes: what a request has room for.
const MAX_FULL_NAME: usize = 256;

/// The longest names of a service and a method together, in bytes: `MaxServiceIDLength` of go-libp2p-gorpc.
const MAX_GORPC_NAMES: usize = 256;

/// The name on the wire of a method that isn't given one: `echo` becomes `Echo`.
pub(crate) fn method_wire_name(ident: &Ident) -> String {
    ident.unraw().to_string().to_upper_camel_case()
}

/// Why a service or a method can't be called so on the wire.
pub(crate) fn check_wire_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        Err("a name on the wire cannot be empty".to_owned())
    } else if let Some(wrong) = name.chars().find(|c| !c.is_ascii_graphic() || *c == '.') {
        Err(format!(
            "a name on the wire is printable ASCII without spaces and '.'; `{name}` has {wrong:?} in it: set another with `name = \"..\"`"
        ))
    } else {
        Ok(())
    }
}

/// Why the two names together can't be a method's name on the wire.
pub(crate) fn check_full_name(full_name: &str) -> Result<(), String> {
    let length = full_name.len();
    if length > MAX_FULL_NAME {
        return Err(format!(
            "the names of the service and the method and the '.' between them are at most {MAX_FULL_NAME} bytes on the wire, these are {length}"
        ));
    }
    Ok(())
}

/// Why Go can't know a service by this name. There a service has the name of a type.
pub(crate) fn check_gorpc_name(name: &str) -> Result<(), String> {
    let mut chars = name.chars();
    match chars.next() {
        None => Err("the name of a service in Go cannot be empty".to_owned()),
        Some(first) if !(first.is_ascii_alphabetic() || first == '_') => {
            Err(format!("the name of a service in Go begins with a letter or '_': `{name}` begins with {first:?}"))
        }
        Some(_) => match chars.find(|c| !(c.is_ascii_alphanumeric() || *c == '_')) {
            None => Ok(()),
            Some(wrong) => Err(format!(
                "the name of a service in Go is ASCII letters, digits and '_': `{name}` has {wrong:?} in it"
            )),
        },
    }
}

/// Why Go doesn't take these names together.
pub(crate) fn check_gorpc_names(service: &str, method: &str) -> Result<(), String> {
    let length = service.len() + method.len();
    if length > MAX_GORPC_NAMES {
        return Err(format!(
            "the name of a service in Go and that of a method are at most {MAX_GORPC_NAMES} bytes together, these are {length}"
        ));
    }
    Ok(())
}

/// The names of what is generated for a trait.
pub(crate) struct ServiceNames {
    pub(crate) server: Ident,
    pub(crate) client: Ident,
    pub(crate) peer: Ident,
    pub(crate) peers: Ident,
    pub(crate) any: Ident,
    /// The module of the methods' marker types.
    pub(crate) module: Module,
    /// The type parameter of the server: not the trait's own name.
    pub(crate) implementor: Ident,
    /// The trait of what can be called without a network.
    pub(crate) local: Ident,
    /// The type whose methods are those of the trait at no peer.
    pub(crate) nobody: Ident,
}

/// Where the marker types are, and what their module is called.
pub(crate) enum Module {
    /// In a module that the user has named.
    Given(Ident),
    /// In the module `name` inside of the module `around`, whose own name nobody writes.
    Default {
        around: Ident,
        name: Ident,
        /// What is in `around` can be named without it.
        imported: bool,
    },
}

impl Module {
    fn default(service: &str, span: Span) -> Self {
        let mut name = service.to_snake_case();
        // A trait in snake case lives in the same namespace as the module.
        if name == service {
            name.push('_');
        }
        let imported = !crates::is_crate(&name);
        let around = format_ident!("__p2prpc_methods_of_{service}", span = span);
        Module::Default { around, name: ident(&name, span), imported }
    }

    /// The path of the module.
    pub(crate) fn path(&self) -> TokenStream {
        match self {
            Module::Given(name) => name.to_token_stream(),
            Module::Default { around, name, .. } => quote!(#around::#name),
        }
    }
}

impl ServiceNames {
    /// `module` is the name that the user has given to the module of the marker types.
    pub(crate) fn of(service: &Ident, module: Option<Ident>) -> Self {
        let span = generated_at(service.span());
        let suffixed = |suffix: &str| format_ident!("{service}{suffix}", span = span);
        let plain = service.unraw().to_string();
        let module = module.map_or_else(|| Module::default(&plain, span), Module::Given);
        let implementor = if plain == "T" { "S" } else { "T" };
        ServiceNames {
            server: suffixed("Server"),
            client: suffixed("Client"),
            peer: suffixed("Peer"),
            peers: suffixed("Peers"),
            any: suffixed("Any"),
            module,
            local: format_ident!("__P2prpcLocal_{service}", span = span),
            nobody: format_ident!("__P2prpcNobody_{service}", span = span),
            implementor: Ident::new(implementor, Span::mixed_site()),
        }
    }
}

/// The names of what is generated for a method.
pub(crate) struct MethodNames {
    /// The type that stands for the method.
    pub(crate) marker: Ident,
    /// The struct of its arguments.
    pub(crate) args: Ident,
    /// The method of the stubs.
    pub(crate) stub: Ident,
    /// The client's method that calls all members.
    pub(crate) all: Ident,
}

impl MethodNames {
    pub(crate) fn of(service: &Ident, method: &Ident) -> Self {
        let span = generated_at(method.span());
        let marker = ident(&method_wire_name(method), span);
        MethodNames {
            // A marker has no '_' past its beginning, so no other pair of a service and a method gives the same name.
            args: format_ident!("__P2prpcArgs_{marker}_{service}", span = span),
            stub: generated(method),
            all: format_ident!("{method}_all", span = span),
            marker,
        }
    }
}

/// Where errors point to the user's token, and lints see code that isn't the user's.
pub(crate) fn generated_at(span: Span) -> Span {
    Span::mixed_site().located_at(span)
}

/// The same name, as one that isn't the user's: what lints say of it is none of their concern.
fn generated(name: &Ident) -> Ident {
    ident(&name.unraw().to_string(), generated_at(name.span()))
}

/// Generated code is of this crate's edition, which reserves a word that the user's edition may not.
const RESERVED_SINCE_2024: &str = "gen";

/// The name as an identifier, changed as little as the language needs.
fn ident(name: &str, span: Span) -> Ident {
    if let Ok(ident) = syn::parse_str::<Ident>(name)
        && name != RESERVED_SINCE_2024
    {
        return Ident::new(&ident.to_string(), span);
    }
    let starts_well = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
    match name {
        "self" | "super" | "crate" | "Self" => format_ident!("{name}_", span = span),
        _ if starts_well => Ident::new_raw(name, span),
        _ => format_ident!("__{name}", span = span),
    }
}
