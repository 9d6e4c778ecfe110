//! One JSON object a line. The README documents them.

use std::fmt::Display;
use std::io::{self, Write};

use p2prpc::printable;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use super::{Entry, Event};
use crate::tally::micros_of;

#[derive(Serialize)]
struct Object<'a> {
    event: &'static str,
    time: String,
    #[serde(serialize_with = "as_text")]
    node: &'a dyn Display,
    #[serde(flatten)]
    fields: Fields<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Fields<'a> {
    Listening {
        #[serde(serialize_with = "as_text")]
        address: &'a dyn Display,
    },
    Member {
        #[serde(serialize_with = "as_text")]
        peer: &'a dyn Display,
    },
    Echo {
        #[serde(serialize_with = "as_text")]
        peer: &'a dyn Display,
        round: u64,
        message: &'a str,
        micros: u64,
    },
    Error {
        #[serde(serialize_with = "as_text")]
        peer: &'a dyn Display,
        round: u64,
        error: &'a str,
        kind: &'static str,
        micros: u64,
    },
    Summary {
        peers: usize,
        calls: u64,
        errors: u64,
        p50_micros: Option<u64>,
        p99_micros: Option<u64>,
    },
}

fn as_text<S: Serializer>(value: &&dyn Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Writes what happened: an object a line.
pub(super) fn write(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    match &entry.event {
        Event::Started { addresses } => addresses
            .iter()
            .try_for_each(|address| write_object(out, entry, "listening", Fields::Listening { address })),
        Event::Listening { address } => write_object(out, entry, "listening", Fields::Listening { address }),
        Event::PeerJoined { peer } => write_object(out, entry, "peer_joined", Fields::Member { peer }),
        Event::PeerLeft { peer } => write_object(out, entry, "peer_left", Fields::Member { peer }),
        Event::Echo { peer, round, message, took } => {
            let fields = Fields::Echo { peer, round: *round, message, micros: micros_of(*took) };
            write_object(out, entry, "echo", fields)
        }
        Event::Error { peer, round, error, kind, took } => {
            let fields = Fields::Error { peer, round: *round, error, kind: kind.as_str(), micros: micros_of(*took) };
            write_object(out, entry, "error", fields)
        }
        Event::Summary(summary) => {
            let fields = Fields::Summary {
                peers: summary.peers,
                calls: summary.calls,
                errors: summary.errors,
                p50_micros: summary.p50.map(micros_of),
                p99_micros: summary.p99.map(micros_of),
            };
            write_object(out, entry, "summary", fields)
        }
    }
}

fn write_object(out: &mut impl Write, entry: &Entry, event: &'static str, fields: Fields<'_>) -> io::Result<()> {
    let time = humantime::format_rfc3339_micros(entry.time).to_string();
    let object = Object { event, time, node: &entry.node.id, fields };
    object.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Harmless))?;
    out.write_all(b"\n")
}

/// Compact JSON in which whatever could command a terminal is written as `\u....`, which reads back as the same text.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, c) in fragment.char_indices() {
            if is_harmless(c) {
                continue;
            }
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}

fn is_harmless(c: char) -> bool {
    matches!(c, ' '..='~') || printable(c).to_string().chars().eq([c])
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use p2prpc::{ErrorKind, PeerId};
    use serde_json::{Value, json};

    use super::*;
    use crate::report::Speaker;
    use crate::tally::Summary;

    fn written(node: PeerId, event: Event) -> String {
        let node = Speaker { id: node, label: Some("node-1".into()) };
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001);
        let mut out = Vec::new();
        write(&mut out, &Entry { time, node, event }).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn object(node: PeerId, event: Event) -> Value {
        let line = written(node, event);
        assert!(line.ends_with('\n') && line.lines().count() == 1, "{line}");
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn every_event_has_the_documented_fields_and_no_others() {
        let (node, peer) = (PeerId::random(), PeerId::random());
        let (took, round) = (Duration::from_micros(1234), 3);
        let summary = Summary { peers: 2, calls: 5, errors: 1, p50: Some(took), p99: None };
        for (event, fields) in [
            (
                Event::Listening { address: "/ip4/127.0.0.1/tcp/1".parse().unwrap() },
                json!({"event": "listening", "address": "/ip4/127.0.0.1/tcp/1"}),
            ),
            (Event::PeerJoined { peer }, json!({"event": "peer_joined", "peer": peer.to_string()})),
            (Event::PeerLeft { peer }, json!({"event": "peer_left", "peer": peer.to_string()})),
            (
                Event::Echo { peer, round, message: "hi".into(), took },
                json!({"event": "echo", "peer": peer.to_string(), "round": 3, "message": "hi", "micros": 1234}),
            ),
            (
                Event::Error { peer, round, error: "no".into(), kind: ErrorKind::ConnectionLost, took },
                json!({
                    "event": "error", "peer": peer.to_string(), "round": 3, "error": "no", "kind": "connection_lost",
                    "micros": 1234,
                }),
            ),
            (
                Event::Summary(summary),
                json!({
                    "event": "summary", "peers": 2, "calls": 5, "errors": 1, "p50_micros": 1234, "p99_micros": null,
                }),
            ),
        ] {
            let mut expected = fields;
            expected["time"] = json!("2023-11-14T22:13:20.000001Z");
            expected["node"] = json!(node.to_string());
            assert_eq!(object(node, event), expected);
        }
    }

    #[test]
    fn a_start_is_an_object_for_each_address() {
        let addresses = ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/udp/1/quic-v1"].map(|text| text.parse().unwrap());
        let lines = written(PeerId::random(), Event::Started { addresses: addresses.into() });
        assert_eq!(lines.lines().filter(|line| line.contains(r#""event":"listening""#)).count(), 2);
    }

    #[test]
    fn a_hostile_message_is_written_harmlessly_and_reads_back_whole() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{e0041}\"\\ü🙂";
        let event =
            Event::Echo { peer: PeerId::random(), round: 1, message: hostile.into(), took: Duration::default() };
        let line = written(PeerId::random(), event);
        assert!(line.trim_end().chars().all(is_harmless), "{line}");
        assert!(line.contains("ü🙂"), "{line}");
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["message"], hostile);
    }
}
