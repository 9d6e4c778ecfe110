//! Codec numbers, limits on encoding, and bodies that are not what they should be.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use p2prpc::codec::{self, CodecError, CodecId};
use serde::ser::{Error, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum Event {
    Joined { name: String, age: Option<u16> },
    Moved(f32, f32),
    Left,
}

fn events() -> (Vec<Event>, BTreeMap<String, i64>, bool) {
    let events = vec![Event::Joined { name: "ann".into(), age: Some(300) }, Event::Moved(0.5, -1.0), Event::Left];
    (events, BTreeMap::from([("k".into(), -70_000)]), true)
}

/// Writes something, then fails or panics.
struct Breaks {
    panics: bool,
}

impl Serialize for Breaks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(2))?;
        seq.serialize_element("written")?;
        assert!(!self.panics, "by design");
        Err(S::Error::custom("\u{1b}[31mbroken".repeat(100)))
    }
}

/// Goes on when an element doesn't fit.
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(1 << 20))?;
        for _ in 0..1 << 20 {
            let _ = seq.serialize_element(&u64::MAX);
        }
        seq.end()
    }
}

#[test]
fn the_numbers_on_the_wire_are_fixed() {
    let codecs = [CodecId::BINCODE, CodecId::MESSAGEPACK, CodecId::POSTCARD, CodecId::JSON];
    assert_eq!(codecs.map(CodecId::get), [1, 2, 3, 4]);
    assert_eq!(codecs.map(|codec| codec.to_string()), ["bincode", "messagepack", "postcard", "json"]);
    assert_eq!(CodecId::new(9).name(), None);
    assert_eq!(CodecId::new(2), CodecId::MESSAGEPACK);
}

#[test]
fn a_codec_is_supported_when_its_feature_is_on() {
    for (codec, feature) in [
        (CodecId::BINCODE, cfg!(feature = "bincode")),
        (CodecId::MESSAGEPACK, cfg!(feature = "messagepack")),
        (CodecId::POSTCARD, cfg!(feature = "postcard")),
        (CodecId::JSON, cfg!(feature = "json")),
        (CodecId::new(0), false),
        (CodecId::new(255), false),
    ] {
        assert_eq!(codec.is_supported(), feature, "{codec}");
        assert_eq!(CodecId::supported().contains(&codec), feature, "{codec}");
        let encoded = codec::encode(codec, &1u8, &mut Vec::new(), 16);
        assert_eq!(encoded.is_ok(), feature, "{codec}");
        if !feature {
            assert_eq!(encoded, Err(CodecError::Unsupported(codec)));
            assert_eq!(codec::decode::<u8>(codec, &[1]), Err(CodecError::Unsupported(codec)));
        }
    }
}

#[cfg(feature = "bincode")]
#[test]
fn bincode_is_the_default_whatever_else_is_on() {
    assert_eq!(CodecId::default(), CodecId::BINCODE);
}

#[test]
fn an_unknown_codec_is_named_in_the_error() {
    let error = codec::decode::<u8>(CodecId::new(77), &[]).unwrap_err();
    assert_eq!(error.to_string(), "there is no codec with the number 77");
    if CodecId::supported().is_empty() {
        let error = codec::decode::<u8>(CodecId::default(), &[]).unwrap_err();
        assert_eq!(error.to_string(), "no codec compiled in: enable feature `bincode`");
    } else if !CodecId::JSON.is_supported() {
        let error = codec::decode::<u8>(CodecId::JSON, &[]).unwrap_err();
        assert_eq!(error.to_string(), "the codec json is not compiled in: enable feature `json`");
    }
}

#[test]
fn encoding_appends_up_to_its_limit() {
    for &codec in CodecId::supported() {
        let mut out = Vec::new();
        codec::encode(codec, &events(), &mut out, usize::MAX).unwrap();
        let whole = out.clone();

        out = b"before".to_vec();
        codec::encode(codec, &events(), &mut out, whole.len()).unwrap();
        assert_eq!(out, [b"before", &whole[..]].concat(), "{codec}");

        for limit in 0..whole.len() {
            out = b"before".to_vec();
            let result = codec::encode(codec, &events(), &mut out, limit);
            assert_eq!((result, &out[..]), (Err(CodecError::TooLarge { limit }), &b"before"[..]), "{codec}");
        }
    }
}

#[test]
fn a_value_that_never_stops_is_stopped() {
    for &codec in CodecId::supported() {
        let mut out = Vec::new();
        let result = codec::encode(codec, &Stubborn, &mut out, 1000);
        assert_eq!(result, Err(CodecError::TooLarge { limit: 1000 }), "{codec}");
        assert!(out.is_empty() && out.capacity() < 10_000, "{codec}: {}", out.capacity());
    }
}

#[test]
fn a_value_that_refuses_leaves_nothing_behind() {
    for &codec in CodecId::supported() {
        let mut out = b"before".to_vec();
        let error = codec::encode(codec, &Breaks { panics: false }, &mut out, 1000).unwrap_err();
        let CodecError::Encode(text) = &error else { panic!("{error:?}") };
        assert!(text.len() <= 256, "{codec}: {}", text.len());
        assert!(!error.to_string().contains(char::is_control), "{codec}: {error:?}");
        assert_eq!(out, b"before", "{codec}");
    }
}

#[test]
fn a_value_that_panics_leaves_nothing_behind() {
    for &codec in CodecId::supported() {
        let mut out = b"before".to_vec();
        let encode = || codec::encode(codec, &Breaks { panics: true }, &mut out, 1000);
        assert!(catch_unwind(AssertUnwindSafe(encode)).is_err(), "{codec}");
        assert_eq!(out, b"before", "{codec}");
    }
}

#[test]
fn a_body_that_ends_too_soon_or_too_late() {
    for &codec in CodecId::supported() {
        let mut body = Vec::new();
        codec::encode(codec, &events(), &mut body, 1000).unwrap();
        assert_eq!(codec::decode(codec, &body), Ok(events()), "{codec}");
        for end in 0..body.len() {
            let result = codec::decode::<(Vec<Event>, BTreeMap<String, i64>, bool)>(codec, &body[..end]);
            assert!(matches!(result, Err(CodecError::Decode(_))), "{codec}, {end} bytes: {result:?}");
        }
        for extra in [0, 1, 0x91, b'1', b'}', 0xff] {
            body.push(extra);
            let result = codec::decode::<(Vec<Event>, BTreeMap<String, i64>, bool)>(codec, &body);
            assert_eq!(result, Err(CodecError::TrailingBytes { codec }), "{codec}, {extra:#x}");
            body.pop();
        }
        assert_eq!(codec::decode::<()>(codec, &[]).is_ok(), matches!(codec.get(), 1 | 3), "{codec}");
    }
}

#[cfg(feature = "messagepack")]
#[test]
fn an_array_longer_than_its_tuple_is_an_error_in_messagepack() {
    assert!(matches!(codec::decode::<(u8, u8)>(CodecId::MESSAGEPACK, &[0x93, 1, 2, 3]), Err(CodecError::Decode(_))));
}

#[cfg(feature = "json")]
#[test]
fn space_around_json_is_no_trailing_byte() {
    assert_eq!(codec::decode(CodecId::JSON, b" [1, 2]\r\n"), Ok((1, 2)));
}

#[test]
fn a_body_of_another_type_is_a_sentence() {
    for &codec in CodecId::supported() {
        let mut body = Vec::new();
        codec::encode(codec, &("\u{202e}evil\u{7}".repeat(200), 9), &mut body, 10_000).unwrap();
        let error = codec::decode::<Event>(codec, &body).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("the bytes are not a value of the type that was expected: "), "{codec}: {text}");
        assert!(text.len() < 400 && !text.contains(['\u{7}', '\u{202e}']), "{codec}: {text:?}");
    }
}

/// Bytes near valid ones, from a fixed sequence of pseudorandom numbers (Knuth's MMIX generator).
#[test]
fn no_bytes_panic() {
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    for &codec in CodecId::supported() {
        let mut valid = Vec::new();
        codec::encode(codec, &events(), &mut valid, 1000).unwrap();
        for _ in 0..20_000 {
            let mut body = valid.clone();
            for _ in 0..=random() % 4 {
                let at = random() % body.len();
                body[at] = random().to_le_bytes()[0];
            }
            body.truncate(1 + random() % body.len());
            let _ = codec::decode::<(Vec<Event>, BTreeMap<String, i64>, bool)>(codec, &body);
            let _ = codec::decode::<Vec<Vec<Option<String>>>>(codec, &body);
        }
    }
}
