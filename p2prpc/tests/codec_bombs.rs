//! Bodies of an honest size that would overflow the stack, spin, or take far more memory than they weigh.
//!
//! Each is decoded on a thread with the stack of a tokio worker. An overflow would abort the whole test process.

#![cfg_attr(
    not(all(feature = "bincode", feature = "messagepack", feature = "postcard", feature = "json")),
    allow(dead_code, unused_imports, unused_macros, reason = "some of it is for codecs that are not compiled in")
)]

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::thread;

use p2prpc::codec::{self, CodecError, CodecId, MAX_DEPTH};
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

const BODY: usize = 4 << 20;

fn on_a_small_stack<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(2 << 20).spawn_scoped(scope, run).unwrap();
        thread.join().unwrap()
    })
}

fn decode<T: DeserializeOwned>(codec: CodecId, body: &[u8]) -> Result<(), CodecError> {
    on_a_small_stack(|| codec::decode::<T>(codec, body).map(drop))
}

#[track_caller]
fn assert_too_deep<T: DeserializeOwned>(codec: CodecId, body: &[u8]) {
    assert_eq!(decode::<T>(codec, body), Err(CodecError::TooDeep { limit: MAX_DEPTH }));
}

#[track_caller]
fn assert_over_budget<T: DeserializeOwned>(codec: CodecId, body: &[u8]) {
    let budget = codec::decode_budget(body.len());
    assert_eq!(decode::<T>(codec, body), Err(CodecError::OverBudget { budget }));
}

#[track_caller]
fn assert_ends_too_soon<T: DeserializeOwned>(codec: CodecId, body: &[u8]) {
    assert!(matches!(decode::<T>(codec, body), Err(CodecError::Decode(_))));
}

/// A body of about 4 MiB.
fn repeated(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    bytes.as_ref().repeat(BODY / bytes.as_ref().len())
}

/// A sequence or map of so many elements, as the codec announces it.
fn announce(codec: CodecId, elements: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(codec, &elements, &mut bytes, 16).unwrap();
    bytes
}

#[derive(Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Tree>),
}

#[derive(Serialize, Deserialize)]
struct Nest(Vec<Nest>);

#[derive(Serialize, Deserialize)]
struct Chain(Option<Box<Chain>>);

#[derive(Serialize, Deserialize)]
struct Maps(BTreeMap<u8, Maps>);

/// Without fields, so each field of the body is skipped.
#[derive(Deserialize)]
struct Skipping {}

/// Buffered by serde before the variant is known.
#[derive(Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "decoding is what is tested")]
enum Untagged {
    Number(u64),
    Text(String),
}

#[derive(Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "its size is the point")]
enum Large {
    Empty,
    Full([[u64; 32]; 1]),
}

#[derive(Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "its size is the point")]
enum Wide {
    End,
    Next([[u64; 32]; 32], [[u64; 32]; 32], Box<Wide>),
}

/// How much room a collection would reserve for what is announced.
struct Hint(usize);

impl<'de> Deserialize<'de> for Hint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HintVisitor;

        impl<'de> Visitor<'de> for HintVisitor {
            type Value = Hint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Hint, A::Error> {
                Ok(Hint(seq.size_hint().unwrap_or(0)))
            }
        }

        deserializer.deserialize_seq(HintVisitor)
    }
}

/// Carries on when an element cannot be decoded.
struct Lenient;

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Tree>::deserialize(deserializer).map_or(Lenient, |_| Lenient))
    }
}

/// The bombs that fit both positional codecs, which differ in how they write a number.
macro_rules! positional {
    ($codec:expr) => {
        const CODEC: CodecId = $codec;

        #[test]
        fn recursion_through_an_enum() {
            assert_too_deep::<Tree>(CODEC, &repeated([1]));
        }

        #[test]
        fn recursion_through_sequences() {
            assert_too_deep::<Nest>(CODEC, &repeated([1]));
        }

        #[test]
        fn recursion_through_maps() {
            assert_too_deep::<Maps>(CODEC, &repeated([1]));
        }

        #[test]
        fn recursion_through_options_and_newtypes() {
            assert_too_deep::<Chain>(CODEC, &repeated([1]));
        }

        #[test]
        fn elements_that_take_no_bytes() {
            assert_over_budget::<Vec<()>>(CODEC, &announce(CODEC, 1 << 40));
        }

        #[test]
        fn sequences_of_elements_that_take_no_bytes() {
            let inner = announce(CODEC, 1 << 40);
            let body = [announce(CODEC, 100), inner.repeat(100)].concat();
            assert_over_budget::<Vec<Vec<()>>>(CODEC, &body);
        }

        #[test]
        fn entries_that_take_no_bytes() {
            assert_over_budget::<HashMap<(), ()>>(CODEC, &announce(CODEC, 1 << 40));
        }

        #[test]
        fn empty_variants_of_a_large_enum() {
            let body = [announce(CODEC, BODY as u64), vec![0; BODY]].concat();
            assert_over_budget::<Vec<Large>>(CODEC, &body);
        }

        #[test]
        fn empty_variants_of_a_large_enum_in_boxes() {
            let body = [announce(CODEC, BODY as u64), vec![0; BODY]].concat();
            assert_over_budget::<Vec<Box<Large>>>(CODEC, &body);
        }

        #[test]
        fn absent_options_of_a_large_type() {
            let body = [announce(CODEC, BODY as u64), vec![0; BODY]].concat();
            assert_over_budget::<Vec<Option<[u64; 32]>>>(CODEC, &body);
        }

        #[test]
        fn a_sequence_announced_and_absent() {
            assert_ends_too_soon::<Vec<u64>>(CODEC, &announce(CODEC, 1 << 60));
            assert_eq!(codec::decode::<Hint>(CODEC, &announce(CODEC, 1 << 40)).map(|hint| hint.0 <= 4096), Ok(true));
        }

        #[test]
        fn a_map_announced_and_absent() {
            assert_ends_too_soon::<HashMap<u64, u64>>(CODEC, &announce(CODEC, 1 << 60));
        }

        #[test]
        fn a_string_announced_and_absent() {
            assert_ends_too_soon::<String>(CODEC, &announce(CODEC, 1 << 60));
        }

        #[test]
        fn bytes_announced_and_absent() {
            assert_ends_too_soon::<Vec<u8>>(CODEC, &announce(CODEC, 1 << 60));
            assert_ends_too_soon::<std::ffi::CString>(CODEC, &announce(CODEC, 1 << 60));
        }

        shared!();
    };
}

/// The bombs that the encoder can make.
macro_rules! shared {
    () => {
        #[test]
        fn few_levels_of_a_type_that_takes_much_stack() {
            let mut value = Wide::End;
            for _ in 0..100 {
                value = Wide::Next([[0; 32]; 32], [[0; 32]; 32], Box::new(value));
            }
            let mut body = Vec::new();
            thread::scope(|scope| {
                let encode = || codec::encode(CODEC, &value, &mut body, usize::MAX).unwrap();
                thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, encode).unwrap();
            });
            assert_eq!(decode::<Wide>(CODEC, &body), Err(CodecError::OutOfStack { limit: codec::MAX_STACK }));
        }

        #[test]
        fn exactly_the_limit_of_depth() {
            let mut value = Nest(vec![]);
            for _ in 1..MAX_DEPTH {
                value = Nest(vec![value]);
            }
            let mut body = Vec::new();
            codec::encode(CODEC, &value, &mut body, BODY).unwrap();
            assert_eq!(decode::<Nest>(CODEC, &body), Ok(()));

            body.clear();
            codec::encode(CODEC, &Nest(vec![value]), &mut body, BODY).unwrap();
            assert_too_deep::<Nest>(CODEC, &body);
        }

        #[test]
        fn a_type_that_ignores_the_error_of_a_part() {
            let mut value = Tree::Leaf;
            for _ in 0..MAX_DEPTH {
                value = Tree::Node(Box::new(value));
            }
            let mut body = Vec::new();
            codec::encode(CODEC, &[value], &mut body, BODY).unwrap();
            assert_too_deep::<Lenient>(CODEC, &body);
        }
    };
}

#[cfg(feature = "bincode")]
mod bincode {
    use super::*;

    positional!(CodecId::BINCODE);
}

#[cfg(feature = "postcard")]
mod postcard {
    use super::*;

    positional!(CodecId::POSTCARD);
}

#[cfg(feature = "messagepack")]
mod messagepack {
    use super::*;

    const CODEC: CodecId = CodecId::MESSAGEPACK;
    const MAX: [u8; 4] = [0xff; 4];
    const ARRAY_32: u8 = 0xdd;
    const MAP_32: u8 = 0xdf;
    const STR_32: u8 = 0xdb;
    const BIN_32: u8 = 0xc6;

    shared!();

    fn array(len: usize) -> Vec<u8> {
        [&[ARRAY_32], &u32::try_from(len).unwrap().to_be_bytes()[..]].concat()
    }

    fn announce_most(marker: u8) -> Vec<u8> {
        [&[marker], &MAX[..]].concat()
    }

    #[test]
    fn recursion_through_an_enum() {
        assert_too_deep::<Tree>(CODEC, &repeated(b"\x81\xa4Node"));
    }

    #[test]
    fn recursion_through_sequences() {
        assert_too_deep::<Nest>(CODEC, &repeated([0x91]));
    }

    #[test]
    fn recursion_through_maps() {
        assert_too_deep::<Maps>(CODEC, &repeated([0x81, 0]));
    }

    #[test]
    fn recursion_through_options_and_newtypes() {
        assert_too_deep::<Chain>(CODEC, &[0]);
    }

    #[test]
    fn recursion_in_a_field_that_is_skipped() {
        assert_too_deep::<Skipping>(CODEC, &[b"\x81\xa1x".to_vec(), repeated([0x91])].concat());
        assert_too_deep::<Skipping>(CODEC, &[b"\x81\xa1x".to_vec(), repeated([0x81, 0])].concat());
    }

    #[test]
    fn recursion_in_a_buffered_value() {
        assert_too_deep::<Untagged>(CODEC, &repeated([0x91]));
        assert_too_deep::<Untagged>(CODEC, &repeated([0x81, 0]));
    }

    #[test]
    fn recursion_in_an_extension() {
        assert!(decode::<Untagged>(CODEC, &repeated([0xd4])).is_err());
    }

    #[test]
    fn empty_sequences() {
        assert_over_budget::<Vec<Vec<()>>>(CODEC, &[array(BODY), vec![0x90; BODY]].concat());
    }

    #[test]
    fn sequences_announced_in_sequences() {
        assert_ends_too_soon::<Vec<Vec<()>>>(CODEC, &announce_most(ARRAY_32).repeat(2));
    }

    #[test]
    fn empty_variants_of_a_large_enum() {
        let empty = b"\xa5Empty";
        let count = BODY / empty.len();
        assert_over_budget::<Vec<Large>>(CODEC, &[array(count), empty.repeat(count)].concat());
    }

    #[test]
    fn absent_options_of_a_large_type() {
        assert_over_budget::<Vec<Option<[u64; 32]>>>(CODEC, &[array(BODY), vec![0xc0; BODY]].concat());
    }

    #[test]
    fn small_values_buffered() {
        assert_over_budget::<Untagged>(CODEC, &[array(BODY), vec![0xc0; BODY]].concat());
    }

    #[test]
    fn a_sequence_announced_and_absent() {
        assert_ends_too_soon::<Vec<()>>(CODEC, &announce_most(ARRAY_32));
        assert_ends_too_soon::<Vec<u64>>(CODEC, &announce_most(ARRAY_32));
    }

    #[test]
    fn a_map_announced_and_absent() {
        assert_ends_too_soon::<HashMap<u64, u64>>(CODEC, &announce_most(MAP_32));
        assert_ends_too_soon::<HashMap<(), ()>>(CODEC, &announce_most(MAP_32));
    }

    #[test]
    fn a_string_announced_and_absent() {
        assert_ends_too_soon::<String>(CODEC, &announce_most(STR_32));
    }

    #[test]
    fn bytes_announced_and_absent() {
        assert_ends_too_soon::<Vec<u8>>(CODEC, &announce_most(BIN_32));
        assert_ends_too_soon::<std::ffi::CString>(CODEC, &announce_most(BIN_32));
    }
}

#[cfg(feature = "json")]
mod json {
    use super::*;

    const CODEC: CodecId = CodecId::JSON;

    shared!();

    fn array(element: &str) -> Vec<u8> {
        let mut body = repeated(format!("{element},"));
        body.pop();
        [b"[", &body[..], b"]"].concat()
    }

    #[test]
    fn recursion_through_an_enum() {
        assert_too_deep::<Tree>(CODEC, &repeated(r#"{"Node":"#));
    }

    #[test]
    fn recursion_through_sequences() {
        assert_too_deep::<Nest>(CODEC, &repeated("["));
    }

    #[test]
    fn recursion_through_maps() {
        assert_too_deep::<Maps>(CODEC, &repeated(r#"{"1":"#));
    }

    #[test]
    fn recursion_through_options_and_newtypes() {
        assert_too_deep::<Chain>(CODEC, b"1");
    }

    #[test]
    fn recursion_in_a_field_that_is_skipped() {
        assert_too_deep::<Skipping>(CODEC, &[br#"{"x":"#.to_vec(), repeated("[")].concat());
        assert_too_deep::<Skipping>(CODEC, &repeated(r#"{"x":"#));
    }

    #[test]
    fn recursion_in_a_buffered_value() {
        assert_too_deep::<Untagged>(CODEC, &repeated("["));
        assert_too_deep::<Untagged>(CODEC, &repeated(r#"{"x":"#));
    }

    #[test]
    fn empty_variants_of_a_large_enum() {
        assert_over_budget::<Vec<Large>>(CODEC, &array(r#""Empty""#));
    }

    #[test]
    fn absent_options_of_a_large_type() {
        assert_over_budget::<Vec<Option<[u64; 32]>>>(CODEC, &array("null"));
    }

    #[test]
    fn small_values_buffered() {
        assert_over_budget::<Untagged>(CODEC, &array("0"));
    }

    #[test]
    fn a_string_without_an_end() {
        assert_ends_too_soon::<String>(CODEC, &[b"\"".to_vec(), repeated("a")].concat());
    }

    #[test]
    fn a_sequence_without_an_end() {
        assert_ends_too_soon::<Vec<()>>(CODEC, b"[");
        assert_ends_too_soon::<HashMap<String, ()>>(CODEC, b"{");
    }

    #[test]
    fn a_number_of_a_million_digits() {
        assert!(decode::<u64>(CODEC, &repeated("1")).is_err());
        assert!(decode::<f64>(CODEC, &[repeated("1"), b".".to_vec()].concat()).is_err());
    }
}
