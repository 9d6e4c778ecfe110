//! Methods that would be the same on the wire, or in the generated code.

use proc_macro2::Span;

use crate::misuses::Misuses;
use crate::model::{Clash, Method};

/// Reports the methods that clash for certain; gives those of which `cfg` may leave only one.
pub(crate) fn find(methods: &[Method], misuses: &mut Misuses) -> Vec<Clash> {
    let mut possible = Vec::new();
    for (index, later) in methods.iter().enumerate() {
        for earlier in &methods[..index] {
            let Some((at, message)) = clash(earlier, later) else { continue };
            let cfg: Vec<_> = earlier.carried.cfg.iter().chain(&later.carried.cfg).cloned().collect();
            if cfg.is_empty() {
                misuses.at_span(at, message);
                break;
            }
            possible.push(Clash { cfg, at, message });
        }
    }
    possible
}

fn clash(earlier: &Method, later: &Method) -> Option<(Span, String)> {
    if earlier.wire_name == later.wire_name {
        let message = format!(
            "two methods are called `{}` on the wire: give this one another name with `#[rpc(name = \"..\")]`",
            later.full_name
        );
        return Some((later.named_at, message));
    }
    if earlier.names.marker == later.names.marker {
        let (first, second, marker) = (&earlier.ident, &later.ident, &later.names.marker);
        let message = format!("`{first}` and `{second}` both become the type `{marker}`: rename one");
        return Some((second.span(), message));
    }
    None
}
