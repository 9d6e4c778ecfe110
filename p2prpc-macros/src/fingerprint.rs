//! A number for what a method looks like, so that two builds of a trait can tell whether theirs are the same.

use quote::ToTokens;

use crate::model::Method;

/// [FNV-1a](https://www.rfc-editor.org/rfc/rfc9923) of 64 bits over the names and types of the arguments and the return type as they are written,
/// without white space: `name:String,times:u8->Vec<String>`.
pub(crate) fn fingerprint(method: &Method) -> u64 {
    let mut text = String::new();
    for argument in method.arguments() {
        text.extend([argument.ident.to_string(), ":".into(), argument.ty.to_token_stream().to_string(), ",".into()]);
    }
    text.push_str("->");
    text.extend(method.returns.ty.as_ref().map(|ty| ty.to_token_stream().to_string()));
    text.retain(|c| !c.is_whitespace());
    fnv1a(text.as_bytes())
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_specification() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
