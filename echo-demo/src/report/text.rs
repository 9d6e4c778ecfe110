//! Lines for people.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::time::Duration;

use owo_colors::{OwoColorize, Style};
use p2prpc::printable;

use super::{Entry, Event};
use crate::tally::{Summary, micros_of};

/// A peer's text is shown up to here.
const LONGEST_SHOWN: usize = 1024;

/// Writes what happened, coloured or not.
pub(super) fn write(out: &mut impl Write, entry: &Entry, colours: bool) -> io::Result<()> {
    let paint = Paint(colours);
    let label = entry.node.label.as_deref().map(|label| format!("[{label}] ")).unwrap_or_default();
    let label = paint.show(Style::new().cyan(), &label);
    match &entry.event {
        Event::Started { addresses } => {
            writeln!(out, "{label}Host ID: {}", entry.node.id)?;
            writeln!(out, "{label}Connect to me on:")?;
            addresses.iter().try_for_each(|address| writeln!(out, "{label}  {address}"))
        }
        Event::Listening { address } => writeln!(out, "{label}Connect to me also on: {address}"),
        Event::PeerJoined { peer } => {
            writeln!(out, "{label}Peer {peer} {}", paint.show(Style::new().green(), &"joined"))
        }
        Event::PeerLeft { peer } => writeln!(out, "{label}Peer {peer} {}", paint.show(Style::new().yellow(), &"left")),
        Event::Echo { peer, message, took, .. } => {
            writeln!(out, "{label}Peer {peer} echoed: {} {}", Shown(message), paint.took(*took))
        }
        Event::Error { peer, error, took, .. } => {
            let error = Shown(error);
            let error = paint.show(Style::new().red(), &error);
            writeln!(out, "{label}Peer {peer} returned error: {error} {}", paint.took(*took))
        }
        Event::Summary(Summary { peers, calls, errors, p50, p99 }) => {
            write!(out, "{label}{peers} peers found, {calls} calls, {errors} errors")?;
            match (p50, p99) {
                (Some(p50), Some(p99)) => writeln!(out, ", p50 {}, p99 {}", duration(*p50), duration(*p99)),
                _ => writeln!(out),
            }
        }
    }
}

/// A duration for people, to the microsecond.
pub(crate) fn duration(duration: Duration) -> impl Display {
    humantime::format_duration(Duration::from_micros(micros_of(duration)))
}

struct Paint(bool);

impl Paint {
    fn show<'a>(&self, style: Style, text: &'a dyn Display) -> impl Display + 'a {
        text.style(if self.0 { style } else { Style::new() }).to_string()
    }

    fn took(&self, took: Duration) -> impl Display + use<> {
        let took = format!("({})", duration(took));
        self.show(Style::new().dimmed(), &took).to_string()
    }
}

/// A peer's text, harmless and of bounded length.
struct Shown<'a>(&'a str);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(LONGEST_SHOWN) {
            None => write!(f, "{}", printable(self.0)),
            Some((end, _)) => {
                let start = self.0.get(..end).unwrap_or_default();
                write!(f, "{}.. ({} bytes)", printable(start), self.0.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use p2prpc::{ErrorKind, PeerId};

    use super::*;
    use crate::report::Speaker;

    const TOOK: Duration = Duration::from_micros(1234);

    fn line(label: Option<&str>, colours: bool, event: Event) -> String {
        let node = Speaker { id: PeerId::random(), label: label.map(Into::into) };
        let mut out = Vec::new();
        write(&mut out, &Entry::new(node, event), colours).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn echo(peer: PeerId, message: &str) -> Event {
        Event::Echo { peer, round: 1, message: message.into(), took: TOOK }
    }

    #[test]
    fn an_echo_says_who_what_and_how_long() {
        let peer = PeerId::random();
        assert_eq!(line(None, false, echo(peer, "hi")), format!("Peer {peer} echoed: hi (1ms 234us)\n"));
        assert_eq!(
            line(Some("node-2"), false, echo(peer, "hi")),
            format!("[node-2] Peer {peer} echoed: hi (1ms 234us)\n")
        );
    }

    #[test]
    fn an_error_says_who_what_and_how_long() {
        let peer = PeerId::random();
        let event = Event::Error { peer, round: 1, error: "no \u{7}".into(), kind: ErrorKind::Unreachable, took: TOOK };
        assert_eq!(line(None, false, event), format!("Peer {peer} returned error: no \\u{{7}} (1ms 234us)\n"));
    }

    #[test]
    fn a_start_names_the_host_and_its_addresses() {
        let text = line(None, false, Event::Started { addresses: vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()] });
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("Host ID: 1"), "{text}");
        assert_eq!(lines[1..], ["Connect to me on:", "  /ip4/127.0.0.1/tcp/1"]);
    }

    #[test]
    fn a_hostile_message_is_shown_harmlessly_and_cut() {
        let peer = PeerId::random();
        let text = line(None, false, echo(peer, "\u{1b}[2Jgone\n\u{202e}"));
        assert_eq!(text, format!("Peer {peer} echoed: \\u{{1b}}[2Jgone\\u{{a}}\\u{{202e}} (1ms 234us)\n"));
        let text = line(None, false, echo(peer, &"ü".repeat(5000)));
        assert!(text.contains("ü.. (10000 bytes)") && text.chars().count() < 1200, "{text}");
    }

    #[test]
    fn colours_are_there_only_if_asked_for() {
        let peer = PeerId::random();
        assert!(line(None, true, Event::PeerJoined { peer }).contains("\u{1b}[32mjoined\u{1b}["));
        for event in [Event::PeerJoined { peer }, Event::PeerLeft { peer }, echo(peer, "hi")] {
            assert!(!line(Some("node-1"), false, event).contains('\u{1b}'));
        }
    }

    #[test]
    fn a_summary_without_echoes_has_no_percentiles() {
        let summary = Summary { peers: 0, calls: 0, errors: 0, p50: None, p99: None };
        assert_eq!(line(None, false, Event::Summary(summary)), "0 peers found, 0 calls, 0 errors\n");
        let summary = Summary { peers: 1, calls: 2, errors: 1, p50: Some(TOOK), p99: Some(TOOK) };
        let text = line(None, false, Event::Summary(summary));
        assert_eq!(text, "1 peers found, 2 calls, 1 errors, p50 1ms 234us, p99 1ms 234us\n");
    }
}
