//! How the program ends when it doesn't end well.

use std::fmt::Display;
use std::process::ExitCode;

use p2prpc::printable;

/// Something was asked for that can't be done.
const USAGE: u8 = 2;
/// It was tried and did not work out.
const OTHER: u8 = 1;

/// One sentence, and the exit code that goes with it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    sentence: String,
}

impl Failure {
    /// What was asked for can't be done: names the flag and says what it wants.
    pub(crate) fn usage(sentence: impl Display) -> Self {
        Failure { code: USAGE, sentence: sentence.to_string() }
    }

    /// It could be asked for, and did not work out.
    pub(crate) fn other(sentence: impl Display) -> Self {
        Failure { code: OTHER, sentence: sentence.to_string() }
    }

    /// Says so on stderr. What is in the sentence may be anybody's text.
    pub(crate) fn report(self) -> ExitCode {
        eprintln!("echo-demo: {}", printable(&self.sentence));
        ExitCode::from(self.code)
    }

    #[cfg(test)]
    pub(crate) fn sentence(&self) -> &str {
        &self.sentence
    }
}
