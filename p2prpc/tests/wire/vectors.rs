//! The wire against the test vectors of `docs/wire.md`, whole, cut short and damaged.

use std::ops::Range;

use p2prpc::wire::{self, Delivery, Frame, MAX_FRAME, MetadataRef, Role, WireError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

struct Vector {
    name: String,
    bytes: Vec<u8>,
    /// What `decode` should make of it: `frame` or `error`.
    expected: Value,
    one_of_several_forms: bool,
}

fn vectors(list: &str) -> Vec<Vector> {
    let file: Value = serde_json::from_str(include_str!("../fixtures/wire/vectors.json")).unwrap();
    let vectors: Vec<_> = file[list].as_array().unwrap().iter().map(vector).collect();
    assert!(vectors.len() > 40, "{list}");
    vectors
}

fn vector(entry: &Value) -> Vector {
    let mut bytes = from_hex(entry["hex"].as_str().unwrap());
    if let Some(tail) = entry.get("tail") {
        bytes.extend(repeated(tail));
    }
    let mut expected = entry.get("frame").or(entry.get("error")).unwrap().clone();
    if let Some(chunk) = expected.get_mut("chunk").filter(|chunk| chunk.is_object()) {
        *chunk = json!(hex(&repeated(chunk)));
    }
    Vector {
        name: entry["name"].as_str().unwrap().to_owned(),
        bytes,
        expected,
        one_of_several_forms: entry.get("one_of_several_forms").is_some(),
    }
}

fn repeated(bytes: &Value) -> Vec<u8> {
    from_hex(bytes["byte"].as_str().unwrap()).repeat(bytes["count"].as_u64().unwrap() as usize)
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A frame as the vectors write it.
fn describe(frame: &Frame<'_>) -> Value {
    match frame {
        Frame::Hello(hello) => json!({
            "kind": "Hello",
            "role": match hello.role { Role::Calls => "Calls", Role::OneCall => "OneCall" },
            "max_calls": hello.max_calls,
            "max_message": hello.max_message,
            "max_bytes_in_flight": hello.max_bytes_in_flight,
            "codecs": hello.codecs,
            "features": hello.features,
        }),
        Frame::Request(request) => json!({
            "kind": "Request",
            "id": request.id,
            "method": request.method,
            "codec": request.codec,
            "deadline_micros": request.deadline.map(|left| u64::try_from(left.as_micros()).unwrap()),
            "metadata": request.metadata.iter().collect::<Vec<_>>(),
            "body_len": request.body_len,
            "chunk": hex(request.chunk),
        }),
        Frame::Response(reply) => json!({
            "kind": "Response",
            "id": reply.id,
            "metadata": reply.metadata.iter().collect::<Vec<_>>(),
            "body_len": reply.body_len,
            "chunk": hex(reply.chunk),
        }),
        Frame::Error(error) => json!({
            "kind": "Error",
            "id": error.id,
            "code": u64::from(error.code),
            "delivery": match error.delivery {
                Delivery::NeverSent => "NeverSent",
                Delivery::Answered => "Answered",
                Delivery::MayHaveRun => "MayHaveRun",
            },
            "message": error.message,
            "metadata": error.metadata.iter().collect::<Vec<_>>(),
            "body_len": error.body_len,
            "chunk": hex(error.chunk),
        }),
        Frame::Body { id, chunk } => json!({ "kind": "Body", "id": id, "chunk": hex(chunk) }),
        Frame::Cancel { id } => json!({ "kind": "Cancel", "id": id }),
        Frame::GoAway { last_call_id, reason, message } => json!({
            "kind": "GoAway", "last_call_id": last_call_id, "reason": u64::from(*reason), "message": message,
        }),
        Frame::Item(item) => json!({
            "kind": "Item", "id": item.id, "body_len": item.body_len, "chunk": hex(item.chunk),
        }),
        Frame::End(end) => json!({
            "kind": "End", "id": end.id, "items": end.items, "metadata": end.metadata.iter().collect::<Vec<_>>(),
        }),
        Frame::Unknown { kind, fields } => json!({ "kind": kind, "fields": hex(fields) }),
    }
}

fn error_name(error: WireError) -> String {
    let debug = format!("{error:?}");
    debug.split('(').next().unwrap().to_owned()
}

/// Decode, and hold the decoder to what it promises for any bytes.
fn decode_checked(buf: &[u8]) -> Result<Option<(Frame<'_>, usize)>, WireError> {
    let decoded = wire::decode(buf);
    match &decoded {
        Ok(Some((frame, consumed))) => {
            assert_eq!(wire::frame_len(buf), Ok(Some(*consumed)));
            let (mine, rest) = buf.split_at(*consumed);
            assert_eq!(wire::decode(mine), decoded, "what follows makes no difference ({} bytes)", rest.len());
            for part in parts(frame) {
                let (outer, inner) = (addresses(mine), addresses(part));
                assert!(inner.is_empty() || outer.start <= inner.start && inner.end <= outer.end);
            }
            let mut again = Vec::new();
            wire::encode(&mut again, frame).unwrap();
            if matches!(frame, Frame::Hello(_)) {
                assert_eq!(wire::decode(&again), Ok(Some((frame.clone(), again.len()))));
            } else {
                assert_eq!(again, mine, "a frame has one form: {frame:?}");
            }
        }
        Ok(None) => assert!(buf.len() < MAX_FRAME + 3, "more is waited for than a frame can have"),
        Err(_) => {}
    }
    decoded
}

/// Everything of a frame that is borrowed.
fn parts<'a>(frame: &Frame<'a>) -> Vec<&'a [u8]> {
    match frame {
        Frame::Hello(_) | Frame::Cancel { .. } => Vec::new(),
        Frame::Request(request) => texts(request.metadata).chain([request.method.as_bytes(), request.chunk]).collect(),
        Frame::Response(reply) => texts(reply.metadata).chain([reply.chunk]).collect(),
        Frame::Error(error) => texts(error.metadata).chain([error.message.as_bytes(), error.chunk]).collect(),
        Frame::Body { chunk, .. } => vec![chunk],
        Frame::GoAway { message, .. } => vec![message.as_bytes()],
        Frame::Item(item) => vec![item.chunk],
        Frame::End(end) => texts(end.metadata).collect(),
        Frame::Unknown { fields, .. } => vec![fields],
    }
}

fn texts(metadata: MetadataRef<'_>) -> impl Iterator<Item = &[u8]> {
    metadata.iter().flat_map(|(key, value)| [key.as_bytes(), value.as_bytes()])
}

fn addresses(bytes: &[u8]) -> Range<usize> {
    let range = bytes.as_ptr_range();
    range.start.addr()..range.end.addr()
}

#[test]
fn valid_vectors_are_read() {
    for vector in vectors("valid") {
        let (frame, consumed) = decode_checked(&vector.bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", vector.name))
            .unwrap_or_else(|| panic!("{}: not whole", vector.name));
        assert_eq!(describe(&frame), vector.expected, "{}", vector.name);
        assert_eq!(consumed, vector.bytes.len(), "{}", vector.name);
    }
}

#[test]
fn valid_vectors_are_written() {
    for vector in vectors("valid").iter().filter(|vector| !vector.one_of_several_forms) {
        let (frame, _) = wire::decode(&vector.bytes).unwrap().unwrap();
        let mut out = b"before".to_vec();
        wire::encode(&mut out, &frame).unwrap();
        assert!(out.strip_prefix(b"before").unwrap() == vector.bytes, "{}", vector.name);
    }
}

#[test]
fn invalid_vectors_are_refused_for_the_right_reason() {
    for vector in vectors("invalid") {
        match decode_checked(&vector.bytes) {
            Ok(frame) => panic!("{}: {frame:?}", vector.name),
            Err(error) => assert_eq!(error_name(error), vector.expected.as_str().unwrap(), "{}", vector.name),
        }
    }
}

#[test]
fn the_specification_shows_the_vectors_as_they_are() {
    let vectors = vectors("valid");
    let shown: Vec<_> = include_str!("../../docs/wire.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix("` |")?.split_once("` | `"))
        .collect();
    assert!(shown.len() >= 9, "{shown:?}");
    for (name, bytes) in shown {
        let vector = vectors.iter().find(|vector| vector.name == name);
        assert_eq!(hex(&vector.unwrap_or_else(|| panic!("no vector {name}")).bytes), bytes, "{name}");
    }
}

#[test]
fn every_reason_to_refuse_has_a_vector() {
    let invalid = vectors("invalid");
    let variants: Vec<_> = include_str!("../../src/wire/error.rs")
        .lines()
        .skip_while(|line| !line.starts_with("pub enum WireError"))
        .take_while(|line| *line != "}")
        .map(|line| line.trim().trim_end_matches(',').split('(').next().unwrap())
        .filter(|word| !word.is_empty() && word.chars().all(char::is_alphanumeric))
        .collect();
    assert!(variants.len() > 30, "{variants:?}");
    for variant in variants {
        assert!(invalid.iter().any(|vector| vector.expected == variant), "{variant}");
    }
}

#[test]
fn a_valid_frame_cut_anywhere_waits_for_the_rest() {
    for vector in vectors("valid") {
        // Cutting a long chunk at each of its bytes shows nothing that its ends don't.
        let len = vector.bytes.len();
        for cut in (0..len.min(1000)).chain(len.saturating_sub(1000).max(1000)..len) {
            assert_eq!(wire::decode(&vector.bytes[..cut]), Ok(None), "{} cut to {cut}", vector.name);
        }
    }
}

#[test]
fn an_invalid_frame_cut_anywhere_is_never_taken() {
    for vector in vectors("invalid") {
        let len = vector.bytes.len();
        for cut in (0..len.min(1000)).chain(len.saturating_sub(1000).max(1000)..len) {
            let decoded = decode_checked(&vector.bytes[..cut]);
            assert!(!matches!(decoded, Ok(Some(_))), "{} cut to {cut}", vector.name);
        }
    }
}

#[test]
fn frames_in_a_row_are_read_one_by_one() {
    let vectors = vectors("valid");
    let stream: Vec<u8> = vectors.iter().flat_map(|vector| vector.bytes.clone()).collect();
    let mut rest = &stream[..];
    for vector in &vectors {
        let (frame, consumed) = wire::decode(rest).unwrap().unwrap();
        assert_eq!(describe(&frame), vector.expected, "{}", vector.name);
        rest = &rest[consumed..];
    }
    assert_eq!(wire::decode(rest), Ok(None));
}

#[test]
fn any_bytes_are_taken_without_a_panic() {
    let mut random = StdRng::seed_from_u64(1);
    let mut frames = 0;
    for _ in 0..200_000 {
        let mut bytes = vec![0; random.random_range(0..64)];
        random.fill(&mut bytes[..]);
        // Otherwise most would fail at the length or the kind already.
        if bytes.len() > 2 && random.random_bool(0.9) {
            bytes[0] = random.random_range(1..=bytes.len() as u8);
            bytes[1] = random.random_range(0..10);
        }
        frames += usize::from(matches!(decode_checked(&bytes), Ok(Some(_))));
    }
    assert!(frames > 1000, "{frames} of the inputs were frames");
}

#[test]
fn damaged_frames_are_taken_without_a_panic() {
    let mut random = StdRng::seed_from_u64(2);
    let mut vectors = vectors("valid");
    vectors.extend(self::vectors("invalid"));
    vectors.retain(|vector| vector.bytes.len() < 2000);
    let (mut frames, mut errors) = (0, 0);
    for _ in 0..200_000 {
        let mut bytes = vectors[random.random_range(0..vectors.len())].bytes.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..5) {
                0 => bytes[at] ^= 1 << random.random_range(0..8),
                1 => bytes[at] = *[0, 1, 0x7f, 0x80, 0xff].get(random.random_range(0..5)).unwrap(),
                2 => bytes.insert(at, random.random()),
                3 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.extend_from_slice(&vectors[random.random_range(0..vectors.len())].bytes),
            }
        }
        match decode_checked(&bytes) {
            Ok(Some(_)) => frames += 1,
            Ok(None) => {}
            Err(_) => errors += 1,
        }
    }
    assert!(frames > 10_000 && errors > 10_000, "{frames} frames, {errors} errors");
}
