use std::fmt::{self, Display};

/// Why a value could not be written or read, within this codec.
#[derive(Debug)]
pub(super) enum Failed {
    /// A field of a struct that Go has left out, as it does with empty ones.
    Missing(&'static str),
    /// The value takes more bytes than it may.
    Full,
    Other(String),
}

impl Failed {
    pub(super) fn too_wide() -> Self {
        Failed::Other("Go has no integers of more than 64 bits".into())
    }

    pub(super) fn cut() -> Self {
        Failed::Other("they end too soon".into())
    }
}

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Missing(field) => write!(f, "missing field `{field}`"),
            Failed::Full => f.write_str("it is too large"),
            Failed::Other(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Failed {}

impl serde::ser::Error for Failed {
    fn custom<T: Display>(reason: T) -> Self {
        Failed::Other(reason.to_string())
    }
}

impl serde::de::Error for Failed {
    fn custom<T: Display>(reason: T) -> Self {
        Failed::Other(reason.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Failed::Missing(field)
    }
}
