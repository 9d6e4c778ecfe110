use std::fmt;

use super::CodecId;

/// Why a value could not be encoded or decoded.
///
/// The texts within are at most 256 bytes; control characters and marks that change the direction of writing are escaped in them, since they
/// can quote what a peer sent.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CodecError {
    /// The codec is unknown here, or not compiled in.
    #[error("{}", Unsupported(*.0))]
    Unsupported(CodecId),
    /// The encoded value takes more bytes than its limit.
    #[error("the encoded value is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The value or the format refused to be encoded: the text says why.
    #[error("the value cannot be encoded: {0}")]
    Encode(String),
    /// The bytes are not a value of the type asked for: the text says why.
    #[error("the bytes are not a value of the type that was expected: {0}")]
    Decode(String),
    /// The value ended before its bytes did.
    #[error("there are bytes left over after the {codec} value")]
    TrailingBytes {
        /// The codec that the bytes were read with.
        codec: CodecId,
    },
    /// Values were nested too deeply: see [`MAX_DEPTH`](super::MAX_DEPTH).
    #[error("the value is nested deeper than the limit of {limit} levels")]
    TooDeep {
        /// The limit, in levels.
        limit: usize,
    },
    /// Decoding took too much of the stack: see [`MAX_STACK`](super::MAX_STACK).
    #[error(
        "decoding the value takes more than the limit of {limit} bytes of stack: it is nested too deeply for so large a type"
    )]
    OutOfStack {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The decoded value would take more memory than a body of its size may: see [`decode_budget`](super::decode_budget).
    #[error("the decoded value takes more than the {budget} bytes of memory that a body of its size is allowed")]
    OverBudget {
        /// The budget, in bytes.
        budget: usize,
    },
}

struct Unsupported(CodecId);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name() {
            Some(_) if CodecId::supported().is_empty() => f.write_str("no codec compiled in: enable feature `bincode`"),
            Some(name) => write!(f, "the codec {name} is not compiled in: enable feature `{name}`"),
            None => write!(f, "there is no codec with the number {}", self.0.get()),
        }
    }
}

#[cfg(any(feature = "bincode", feature = "messagepack", feature = "postcard", feature = "json", feature = "gorpc"))]
mod text {
    use std::fmt::{self, Write};

    use super::CodecError;

    const MAX_TEXT: usize = 256;
    const CUT: &str = "..";
    const ROOM: usize = MAX_TEXT - CUT.len();

    impl CodecError {
        pub(in crate::codec) fn encode(reason: impl fmt::Display) -> Self {
            Self::Encode(text(reason))
        }

        pub(in crate::codec) fn decode(reason: impl fmt::Display) -> Self {
            Self::Decode(text(reason))
        }
    }

    fn text(reason: impl fmt::Display) -> String {
        let mut short = Short(String::new());
        if write!(short, "{reason}").is_err() {
            short.0.push_str(CUT);
        }
        short.0
    }

    struct Short(String);

    impl Short {
        fn push(&mut self, c: char) -> fmt::Result {
            if self.0.len().saturating_add(c.len_utf8()) > ROOM {
                return Err(fmt::Error);
            }
            self.0.push(c);
            Ok(())
        }
    }

    impl Write for Short {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            s.chars().try_for_each(|c| {
                if c.is_control() || is_format_mark(c) {
                    c.escape_unicode().try_for_each(|c| self.push(c))
                } else {
                    self.push(c)
                }
            })
        }
    }

    /// Line separators, and the marks of the Unicode Bidirectional Algorithm (UAX #9, section 2) with the invisible ones beside them.
    fn is_format_mark(c: char) -> bool {
        matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_long_reason_is_cut_within_256_bytes() {
            let reason = text("é".repeat(1000));
            assert!(reason.len() <= MAX_TEXT && reason.len() > MAX_TEXT - 4, "{}", reason.len());
            assert!(reason.ends_with("é.."), "{reason}");
        }

        #[test]
        fn a_reason_of_the_greatest_length_is_whole() {
            let reason = "a".repeat(MAX_TEXT - CUT.len());
            assert_eq!(text(&reason), reason);
        }

        #[test]
        fn terminal_escapes_and_bidirectional_marks_are_spelled_out() {
            assert_eq!(text("a\u{1b}[31m\nb\u{202e}c"), r"a\u{1b}[31m\u{a}b\u{202e}c");
        }
    }
}
