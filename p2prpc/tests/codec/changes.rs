//! The tables of "Changing a service" say what the codecs do, cell by cell.

#![cfg(all(feature = "bincode", feature = "messagepack", feature = "postcard", feature = "json"))]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use p2prpc::codec::{self, CodecError, CodecId};
use p2prpc::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const CODECS: [CodecId; 4] = [CodecId::BINCODE, CodecId::POSTCARD, CodecId::MESSAGEPACK, CodecId::JSON];

/// What becomes of a value that is read as a `B`, in words of the table.
fn outcome<A: Serialize, B: DeserializeOwned + Debug>(codec: CodecId, sent: &A, meant: &str) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = codec::encode(codec, sent, &mut bytes, 1024) {
        assert!(matches!(error, CodecError::Encode(_)), "{error:?}");
        return "`InvalidRequest`".into();
    }
    match codec::decode::<B>(codec, &bytes) {
        Ok(read) if format!("{read:?}") == meant => "the same".into(),
        Ok(read) => format!("**`{read:?}`**"),
        Err(_) => "`BadArguments`".into(),
    }
}

fn row<A: Serialize, B: DeserializeOwned + Debug>(what: &str, sent: &A, meant: impl Debug) -> String {
    let meant = format!("{meant:?}");
    let cells = CODECS.map(|codec| outcome::<A, B>(codec, sent, &meant));
    format!("| {what} | {} |", cells.join(" | "))
}

fn unchanged<A: Serialize + DeserializeOwned + Debug>(what: &str, sent: A) -> String {
    row::<A, A>(what, &sent, &sent)
}

/// A struct as the one side has it and one as the other has it.
macro_rules! versions {
    ($($name:ident { $($fields:tt)* })*) => {
        $(
            #[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
            struct $name { $($fields)* }
        )*
    };
}

versions! {
    Two { a: u8, b: u8 }
    Swapped { b: u8, a: u8 }
    One { a: u8 }
    Renamed { a: u8, c: u8 }
    Three { a: u8, b: u8, c: u8 }
    ThreeByDefault { a: u8, b: u8, #[serde(default)] c: u8 }
    LeavesOut { a: u8, #[serde(default, skip_serializing_if = "is_zero")] b: u8 }
    LeavesOutNeeded { a: u8, #[serde(skip_serializing_if = "is_zero")] b: u8 }
    NeverWritten { #[serde(default, skip_serializing)] a: u8, b: u8 }
    Outer { #[serde(flatten)] inner: One }
}

fn is_zero(n: &u8) -> bool {
    *n == 0
}

#[derive(Serialize, Deserialize, Debug)]
enum Job {
    Run,
    #[serde(skip)]
    #[allow(dead_code, reason = "it can't be sent")]
    Idle,
    Stop,
    Wait,
}

#[derive(Serialize, Deserialize, Debug)]
enum Before {
    Red,
    Blue,
}

#[derive(Serialize, Deserialize, Debug)]
enum Inserted {
    Red,
    Green,
    Blue,
}

#[derive(Serialize, Deserialize, Debug)]
enum Recoloured {
    Red,
    Navy,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(tag = "kind")]
enum Tagged {
    Named { a: u8 },
}

/// Between versions: what the caller has, read as what the server has.
fn changes() -> Vec<String> {
    let two = Two { a: 1, b: 2 };
    vec![
        row::<_, Swapped>("`a: u8, b: u8` made `b: u8, a: u8`", &two, Swapped { b: 2, a: 1 }),
        row::<_, i64>("`u64` made `i64`: 7", &7u64, 7),
        row::<_, One>("an argument taken away", &two, One { a: 1 }),
        row::<_, ThreeByDefault>("one added, with `#[serde(default)]`", &two, ThreeByDefault { a: 1, b: 2, c: 0 }),
        row::<_, Three>("one added, without", &two, ()),
        row::<_, Renamed>("one renamed", &two, Renamed { a: 1, c: 2 }),
        row::<_, Inserted>("a variant put between: `Blue` of `Red, Blue`", &Before::Blue, Inserted::Blue),
        row::<_, Recoloured>("a variant renamed", &Before::Blue, Recoloured::Navy),
    ]
}

/// Between two ends of one version.
fn values() -> Vec<String> {
    vec![
        unchanged("`Some(())`", Some(())),
        unchanged("`Some(None)`, an `Option<Option<u8>>`", Some(None::<u8>)),
        unchanged("`f64::NAN`, `f64::INFINITY`", (f64::NAN, f64::INFINITY)),
        unchanged("`Some(f64::NAN)`", Some(f64::NAN)),
        unchanged("`Stop` of `enum Job { Run, #[serde(skip)] Idle, Stop, Wait }`", Job::Stop),
        unchanged("a field left out by `skip_serializing_if`, with `default`", LeavesOut { a: 1, b: 0 }),
        unchanged("the same without `default`", LeavesOutNeeded { a: 1, b: 0 }),
        row::<_, NeverWritten>(
            "a field with `skip_serializing` and `default`",
            &NeverWritten { a: 1, b: 2 },
            NeverWritten { a: 0, b: 2 },
        ),
        unchanged("`untagged`", Untagged::Number(1)),
        unchanged("`tag = \"..\"`", Tagged::Named { a: 1 }),
        unchanged("`flatten`", Outer { inner: One { a: 1 } }),
        unchanged("a map whose keys are tuples", BTreeMap::from([((1u8, 2u8), 3u8)])),
    ]
}

#[test]
fn the_tables_are_what_is_measured() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tables = [changes(), values()].map(|rows| rows.join("\n"));
    for document in ["docs/changing.md", "../README.md"] {
        let text = std::fs::read_to_string(here.join(document)).expect("a document");
        let has = |table: &String| text.contains(&format!("\n{table}\n\n"));
        assert!(tables.iter().all(has), "{document} is to have\n{}", tables.join("\n\n"));
    }
}

/// What stands behind the variants that are in the table.
#[test]
fn of_an_enum_with_a_variant_that_is_skipped_those_before_it_are_safe() {
    assert_eq!(unchanged("", Job::Run).matches("the same").count(), 4);
    assert_eq!(unchanged("", Inserted::Green).matches("the same").count(), 4);
    assert_eq!(unchanged("", Job::Wait), "|  | `BadArguments` | `BadArguments` | the same | the same |");
}

#[test]
fn floats_come_through_json_to_the_bit() {
    let mut state = 1u64;
    for _ in 0..20_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let float = f64::from_bits(state);
        if !float.is_finite() {
            continue;
        }
        let mut bytes = Vec::new();
        codec::encode(CodecId::JSON, &float, &mut bytes, 64).unwrap();
        assert_eq!(codec::decode::<f64>(CodecId::JSON, &bytes).map(f64::to_bits), Ok(float.to_bits()), "{float:e}");
    }
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
enum Part {
    Named {
        a: u8,
        b: Option<Box<LeavesOut>>,
    },
    Newtype(LeavesOut),
    Pair(u8, LeavesOut),
    Leaves {
        #[serde(default, skip_serializing_if = "is_zero")]
        a: u8,
    },
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Newtype(LeavesOut);

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Tuple(u8, LeavesOut);

#[track_caller]
fn assert_named<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, field: &str) {
    for codec in [CodecId::BINCODE, CodecId::POSTCARD] {
        let mut out = b"before".to_vec();
        let error = codec::encode(codec, &value, &mut out, 1024).unwrap_err().to_string();
        assert!(error.contains(&format!("its field `{field}` is left out")), "{codec}: {error}");
        assert!(error.contains(&codec.to_string()), "{codec}: {error}");
        assert_eq!(out, b"before", "{codec}");
    }
    for codec in [CodecId::MESSAGEPACK, CodecId::JSON] {
        let mut out = Vec::new();
        codec::encode(codec, &value, &mut out, 1024).unwrap();
        assert_eq!(codec::decode::<T>(codec, &out).as_ref(), Ok(&value), "{codec}");
    }
}

#[test]
fn a_field_left_out_anywhere_within_is_named() {
    let leaves = || LeavesOut { a: 1, b: 0 };
    assert_named(vec![LeavesOut { a: 1, b: 1 }, leaves()], "b");
    assert_named((0u8, Some(leaves())), "b");
    assert_named([Newtype(leaves())], "b");
    assert_named(Tuple(1, leaves()), "b");
    assert_named(BTreeMap::from([(1u8, leaves())]), "b");
    assert_named(Part::Named { a: 1, b: Some(Box::new(leaves())) }, "b");
    assert_named(Part::Newtype(leaves()), "b");
    assert_named(Part::Pair(1, leaves()), "b");
    assert_named(Part::Leaves { a: 0 }, "a");
}

#[p2p_service]
trait Parts {
    async fn give(&self, part: LeavesOut) -> u8;
    async fn get(&self) -> LeavesOut;
    async fn fail(&self) -> Result<u8, Fault>;
}

#[derive(Serialize, Deserialize, Debug, thiserror::Error)]
#[error("code {code}")]
struct Fault {
    #[serde(default, skip_serializing_if = "is_zero")]
    code: u8,
}

struct Store;

impl Parts for Store {
    async fn give(&self, part: LeavesOut) -> u8 {
        part.b
    }

    async fn get(&self) -> LeavesOut {
        LeavesOut { a: 1, b: 0 }
    }

    async fn fail(&self) -> Result<u8, Fault> {
        Err(Fault { code: 0 })
    }
}

#[tokio::test]
async fn a_call_with_a_field_left_out_is_an_error_before_it_is_sent_and_a_reply_one_of_the_server() {
    for codec in CODECS {
        let client = PartsClient::local(Store).codec(codec);
        let peer = client.peer(client.local_peer_id().unwrap());
        let gave = peer.give(LeavesOut { a: 1, b: 0 }).await;
        let all = client.give_all(LeavesOut { a: 1, b: 0 }).await;
        let (got, failed) = (peer.get().await, peer.fail().await);
        if [CodecId::MESSAGEPACK, CodecId::JSON].contains(&codec) {
            assert_eq!((gave.unwrap(), got.unwrap()), (0, LeavesOut { a: 1, b: 0 }));
            assert!(matches!(failed, Err(CallError::Application(Fault { code: 0 }))), "{failed:?}");
            continue;
        }
        let error = gave.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidRequest, Delivery::NeverSent), "{error}");
        assert!(error.to_string().contains("`b` is left out"), "{error}");
        let error = all.into_iter().next().unwrap().1.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidRequest, Delivery::NeverSent), "{error}");
        let error = got.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadReply, Delivery::Answered), "{error}");
        assert!(error.to_string().contains("`b` is left out"), "{error}");
        let error = failed.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadReply, Delivery::Answered), "{error}");
        assert!(error.to_string().contains("`code` is left out"), "{error}");
    }
}
