//! Structs whose fields have other names here than in Go: what comes is unknown, and what is needed is zero.

use std::collections::BTreeSet;
use std::fmt;

use parking_lot::Mutex;

use crate::codec::CodecError;

/// The most keys that are named, and the most bytes of one.
pub(super) const MAX_KEYS: usize = 8;
const MAX_KEY: usize = 64;

/// The methods of which it was said.
static TOLD: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// A struct of which needed fields didn't come, while keys came that it doesn't have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misnamed {
    container: &'static str,
    zero: Vec<&'static str>,
    unknown: Vec<String>,
}

impl Misnamed {
    pub(super) fn new(container: &'static str, zero: &[&'static str], unknown: &[&[u8]]) -> Self {
        let name = |key: &&[u8]| String::from_utf8_lossy(key.get(..MAX_KEY).unwrap_or(key)).into_owned();
        Misnamed { container, zero: zero.to_vec(), unknown: unknown.iter().map(name).collect() }
    }
}

impl fmt::Display for Misnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Misnamed { container, zero, unknown } = self;
        write!(
            f,
            "`{container}` has keys that are unknown here, {unknown:?}, and lacks {zero:?}: give its fields the names that they \
             have in Go, by `#[serde(rename_all = \"PascalCase\")]`"
        )
    }
}

/// An error if `strict`, said once of a method otherwise.
pub(super) fn check(misnamed: Option<Misnamed>, method: &'static str, strict: bool) -> Result<(), CodecError> {
    let Some(misnamed) = misnamed else { return Ok(()) };
    if strict {
        return Err(CodecError::decode(misnamed));
    }
    if TOLD.lock().insert(method) {
        tracing::warn!(method, "fields that were needed are zero: {misnamed}");
    }
    Ok(())
}
