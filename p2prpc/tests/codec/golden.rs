//! The bytes of each codec, pinned: a value that one release wrote is read by every other.
//!
//! `fixtures/codec/` has a file for each codec, a line for each value.

#![cfg_attr(
    not(all(feature = "bincode", feature = "messagepack", feature = "postcard", feature = "json")),
    allow(dead_code, unused_imports, unused_macros, reason = "some of it is for codecs that are not compiled in")
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::time::Duration;

use p2prpc::codec::{self, CodecId};
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Marker;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Meters(u32);

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Pair(u8, String);

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Shape {
    Empty,
    Circle(f32),
    Line(Point, Point),
    Label { text: String, bold: bool },
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Item {
    name: String,
    count: Option<u32>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Order {
    id: u64,
    items: Vec<Item>,
    notes: BTreeMap<String, String>,
    shape: Shape,
}

/// A byte array in serde's data model, which `Vec<u8>` is not.
#[derive(PartialEq, Debug)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlobVisitor;

        impl<'de> Visitor<'de> for BlobVisitor {
            type Value = Blob;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Blob, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Blob(bytes))
            }
        }

        deserializer.deserialize_byte_buf(BlobVisitor)
    }
}

/// A codec's fixture file: `name = bytes`, the bytes of JSON as they are, others in hex with `61x251` for 251 times `61`.
struct Fixtures {
    codec: CodecId,
    lines: BTreeMap<&'static str, Vec<u8>>,
    checked: BTreeSet<&'static str>,
    wrong: String,
}

impl Fixtures {
    fn new(codec: CodecId) -> Self {
        let text = match codec {
            CodecId::BINCODE => include_str!("../fixtures/codec/bincode.txt"),
            CodecId::MESSAGEPACK => include_str!("../fixtures/codec/messagepack.txt"),
            CodecId::POSTCARD => include_str!("../fixtures/codec/postcard.txt"),
            CodecId::JSON => include_str!("../fixtures/codec/json.txt"),
            other => panic!("no fixtures for {other}"),
        };
        let mut lines = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, bytes) = line.split_once('=').expect("a line is `name = bytes`");
            let bytes = if codec == CodecId::JSON { bytes.trim().into() } else { unhex(bytes) };
            assert!(lines.insert(name.trim(), bytes).is_none(), "{name} is there twice");
        }
        Self { codec, lines, checked: BTreeSet::new(), wrong: String::new() }
    }

    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &'static str, value: T) {
        assert!(self.checked.insert(name), "{name} is checked twice");
        let mut bytes = Vec::new();
        codec::encode(self.codec, &value, &mut bytes, usize::MAX).unwrap();
        let pinned = self.lines.get(name).unwrap_or(&bytes);
        let decoded = codec::decode::<T>(self.codec, pinned);
        if self.lines.get(name) != Some(&bytes) || decoded.as_ref() != Ok(&value) {
            let bytes = if self.codec == CodecId::JSON { String::from_utf8(bytes).unwrap() } else { hex(&bytes) };
            writeln!(self.wrong, "{name} = {bytes}\n    decoded from its fixture: {decoded:?}").unwrap();
        }
    }

    fn finish(self) {
        assert!(self.wrong.is_empty(), "{} encodes these otherwise than its fixtures:\n{}", self.codec, self.wrong);
        assert_eq!(self.checked, self.lines.into_keys().collect(), "lines without a value, or values without a line");
    }
}

fn unhex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .flat_map(|word| {
            let (byte, times) = word.split_once('x').unwrap_or((word, "1"));
            let byte = u8::from_str_radix(byte, 16).expect("hex");
            std::iter::repeat_n(byte, times.parse().expect("a count"))
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn check_all(codec: CodecId) {
    let mut fixtures = Fixtures::new(codec);
    fixtures.check("u8_250", 250u8);
    fixtures.check("u8_max", u8::MAX);
    fixtures.check("u16_250", 250u16);
    fixtures.check("u16_251", 251u16);
    fixtures.check("u16_max", u16::MAX);
    fixtures.check("u32_0", 0u32);
    fixtures.check("u32_65536", 65536u32);
    fixtures.check("u32_max", u32::MAX);
    fixtures.check("u64_2_32", 1u64 << 32);
    fixtures.check("u64_max", u64::MAX);
    fixtures.check("u128_1", 1u128);
    fixtures.check("u128_max", u128::MAX);
    fixtures.check("i8_min", i8::MIN);
    fixtures.check("i16_minus_1", -1i16);
    fixtures.check("i16_min", i16::MIN);
    fixtures.check("i32_min", i32::MIN);
    fixtures.check("i32_max", i32::MAX);
    fixtures.check("i64_125", 125i64);
    fixtures.check("i64_minus_126", -126i64);
    fixtures.check("i64_min", i64::MIN);
    fixtures.check("i128_min", i128::MIN);
    fixtures.check("bool_true", true);
    fixtures.check("f32", 1.5f32);
    fixtures.check("f64", -0.25f64);
    fixtures.check("char_ascii", 'a');
    fixtures.check("char_two_bytes", 'é');
    fixtures.check("string_empty", String::new());
    fixtures.check("string", String::from("hé"));
    fixtures.check("string_251", "a".repeat(251));
    fixtures.check("bytes", Blob(vec![0, 1, 254, 255]));
    fixtures.check("unit", ());
    fixtures.check("unit_struct", Marker);
    fixtures.check("newtype_struct", Meters(300));
    fixtures.check("option_none", None::<u32>);
    fixtures.check("option_some", Some(5u32));
    fixtures.check("option_twice", Some(Some(3u8)));
    fixtures.check("result_ok", Ok::<u8, String>(1));
    fixtures.check("result_err", Err::<u8, String>("no".into()));
    fixtures.check("tuple", (1u8, -1i16, String::from("a")));
    fixtures.check("array", [1u16, 2, 300]);
    fixtures.check("tuple_struct", Pair(7, "x".into()));
    fixtures.check("struct", Point { x: -1, y: 2 });
    fixtures.check("unit_variant", Shape::Empty);
    fixtures.check("newtype_variant", Shape::Circle(1.5));
    fixtures.check("tuple_variant", Shape::Line(Point { x: 0, y: 1 }, Point { x: -1, y: 0 }));
    fixtures.check("struct_variant", Shape::Label { text: "hi".into(), bold: true });
    fixtures.check("vec", vec![1u32, 250, 251]);
    fixtures.check("vec_u8", vec![1u8, 2, 255]);
    fixtures.check("vec_of_units", vec![(), ()]);
    fixtures.check("vec_of_vecs", vec![vec![], vec![1u8], vec![2, 3]]);
    fixtures.check("map", BTreeMap::from([(String::from("a"), vec![1u16]), (String::from("b"), vec![])]));
    fixtures.check("map_of_integers", BTreeMap::from([(1u16, true), (300, false)]));
    fixtures.check("duration", Duration::new(1, 500));
    fixtures.check(
        "nested",
        Order {
            id: 1000,
            items: vec![Item { name: "nut".into(), count: Some(2) }, Item { name: "bolt".into(), count: None }],
            notes: BTreeMap::from([("k".into(), "v".into())]),
            shape: Shape::Circle(0.5),
        },
    );
    fixtures.finish();
}

#[cfg(feature = "bincode")]
#[test]
fn bincode() {
    check_all(CodecId::BINCODE);
}

#[cfg(feature = "messagepack")]
#[test]
fn messagepack() {
    check_all(CodecId::MESSAGEPACK);
}

#[cfg(feature = "postcard")]
#[test]
fn postcard() {
    check_all(CodecId::POSTCARD);
}

#[cfg(feature = "json")]
#[test]
fn json() {
    check_all(CodecId::JSON);
}
