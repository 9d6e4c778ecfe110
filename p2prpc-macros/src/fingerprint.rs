//! What a method looks like, as a text, so that two builds of a trait can tell whether theirs are the same.

use quote::ToTokens;

use crate::model::Method;

/// The names and types of the arguments and the return type as they are written, without white space: `name:String,times:u8,->Vec<String>`.
pub(crate) fn written(method: &Method) -> String {
    let mut text = String::new();
    for argument in method.arguments() {
        text.extend([argument.ident.to_string(), ":".into(), argument.ty.to_token_stream().to_string(), ",".into()]);
    }
    if let Some(stream) = method.stream() {
        text.extend(["stream:".into(), stream.item.to_token_stream().to_string(), ",".into()]);
    }
    text.push_str("->");
    text.extend(method.returns.ty.as_ref().map(|ty| ty.to_token_stream().to_string()));
    text.retain(|c| !c.is_whitespace());
    text
}
