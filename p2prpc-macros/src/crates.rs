//! The crates that the user's code can name.

use std::env;

/// True if code of the crate that is being compiled can name a crate so.
///
/// Something of the same name in a module would hide the crate there. The compiler doesn't tell a macro which crates there
/// are, but it is the compiler's own process that a macro runs in. Where it runs elsewhere, in an editor say, only `std` and the like are known.
pub(crate) fn is_crate(name: &str) -> bool {
    ["core", "std"].contains(&name) || given(env::args_os().map(|arg| arg.to_string_lossy().into_owned()), name)
}

/// True if `--extern [options:]name[=path]` is among the arguments.
fn given(args: impl Iterator<Item = String>, name: &str) -> bool {
    let mut value_follows = false;
    args.into_iter().any(|arg| {
        let value = if value_follows { Some(arg.as_str()) } else { arg.strip_prefix("--extern=") };
        let found = value.is_some_and(|value| {
            let named = value.split('=').next().unwrap_or_default();
            named.rsplit(':').next() == Some(name)
        });
        value_follows = arg == "--extern";
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_found_however_it_was_given() {
        let is_given = |name: &str| {
            let args =
                ["rustc", "--extern", "one=/a/libone.rlib", "--extern=two", "--extern", "priv,noprelude:three=/b=c"];
            given(args.into_iter().map(str::to_owned), name)
        };
        assert!(is_given("one") && is_given("two") && is_given("three"));
        assert!(!is_given("rustc") && !is_given("--extern") && !is_given("c") && !is_given("on"));
    }
}
