//! Text that came from a peer, made safe to print.

use std::fmt::{self, Display, Write};

/// The longest text of a peer, in bytes, that an error or a log line of p2prpc keeps.
pub(crate) const MAX_PEER_TEXT: usize = 256;

/// Shows `text` with everything escaped that could command a terminal or reorder a line.
///
/// Control characters, line and paragraph separators and the bidirectional marks of
/// [Unicode TR 9](https://www.unicode.org/reports/tr9/) are written as `\u{..}`. Length is kept: cut the text first if it may be long.
///
/// ```
/// let hostile = "ok\u{1b}[2Jgone";
/// assert_eq!(p2prpc::printable(hostile).to_string(), "ok\\u{1b}[2Jgone");
/// ```
pub fn printable<T: Display>(text: T) -> impl Display + fmt::Debug {
    Printable(text)
}

struct Printable<T>(T);

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

impl<T: Display> fmt::Debug for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, c) in text.char_indices() {
            if is_command(c) {
                self.0.write_str(&text[plain..at])?;
                write!(self.0, "{}", c.escape_unicode())?;
                plain = at + c.len_utf8();
            }
        }
        self.0.write_str(&text[plain..])
    }
}

fn is_command(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// The first [`MAX_PEER_TEXT`] bytes of `text`, cut between characters.
pub(crate) fn cut(text: &str) -> &str {
    if text.len() <= MAX_PEER_TEXT {
        return text;
    }
    let mut end = MAX_PEER_TEXT;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_commands_a_terminal() {
        assert_eq!(printable("a\u{1b}[31m\r\nb").to_string(), "a\\u{1b}[31m\\u{d}\\u{a}b");
        assert_eq!(printable("\u{202e}evil").to_string(), "\\u{202e}evil");
    }

    #[test]
    fn leaves_plain_text_of_any_script_alone() {
        assert_eq!(printable("grüße, 世界 🙂").to_string(), "grüße, 世界 🙂");
    }

    #[test]
    fn cuts_between_characters() {
        let long = "é".repeat(200);
        assert_eq!(cut(&long).len(), MAX_PEER_TEXT);
        assert_eq!(cut("short"), "short");
    }
}
