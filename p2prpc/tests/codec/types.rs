//! What serde can express comes through the codecs, whatever stands between them and the value.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::{self, Debug};
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use p2prpc::codec::{self, CodecError, CodecId};
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

#[track_caller]
fn assert_round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(codec: CodecId, value: T) {
    let mut bytes = Vec::new();
    codec::encode(codec, &value, &mut bytes, usize::MAX).unwrap_or_else(|error| panic!("{codec}: {error}"));
    assert_eq!(codec::decode::<T>(codec, &bytes), Ok(value), "{codec}");
}

#[track_caller]
fn assert_round_trip_in_all<T: Serialize + DeserializeOwned + PartialEq + Debug + Clone>(value: T) {
    for &codec in CodecId::supported() {
        assert_round_trip(codec, value.clone());
    }
}

fn self_describing() -> impl Iterator<Item = CodecId> {
    [CodecId::MESSAGEPACK, CodecId::JSON].into_iter().filter(|codec| codec.is_supported())
}

#[test]
fn integers_of_128_bits() {
    assert_round_trip_in_all([i128::MIN, -1, 0, i128::MAX]);
    assert_round_trip_in_all([0, 1, u128::from(u64::MAX) + 1, u128::MAX]);
}

#[test]
fn floats_at_their_edges() {
    assert_round_trip_in_all([f64::MIN, f64::MIN_POSITIVE, 0.1, -0.0, f64::MAX]);
    assert_round_trip_in_all([f32::MIN, f32::MIN_POSITIVE, 0.1, -0.0, f32::MAX]);
}

#[test]
fn collections_and_wrappers_of_std() {
    assert_round_trip_in_all(HashMap::from([(1u32, "one".to_owned()), (2, String::new())]));
    assert_round_trip_in_all(HashSet::from(["a".to_owned(), "b".to_owned()]));
    assert_round_trip_in_all(BTreeSet::from([(1, 'x'), (2, 'ü')]));
    assert_round_trip_in_all((Box::new([1u8, 2]), NonZeroU32::MIN, PhantomData::<u8>, Duration::from_nanos(1)));
    assert_round_trip_in_all(Cow::<'static, str>::Borrowed("borrowed"));
    assert_round_trip_in_all(SystemTime::UNIX_EPOCH + Duration::from_secs(7));
    assert_round_trip_in_all(vec![vec![vec![Some(1u64), None]; 3]; 3]);
    assert_round_trip_in_all(Box::<str>::from("boxed"));
    assert_round_trip_in_all([[1u16; 4]; 4]);
    assert_round_trip_in_all(());
}

/// `IpAddr` asks its codec, through the adapter, whether it is human-readable.
#[test]
fn readable_forms_in_json_and_compact_forms_elsewhere() {
    let address: (IpAddr, SocketAddr) = ("::1".parse().unwrap(), "127.0.0.1:80".parse().unwrap());
    assert_round_trip_in_all(address);
    #[cfg(feature = "json")]
    assert_eq!(codec::decode(CodecId::JSON, br#"["::1","127.0.0.1:80"]"#), Ok(address));
}

#[test]
fn a_megabyte_of_each() {
    assert_round_trip_in_all("x".repeat(1 << 20));
    assert_round_trip_in_all(vec![7u8; 1 << 20]);
    assert_round_trip_in_all(vec![u64::MAX; 1 << 17]);
    assert_round_trip_in_all(vec![(1u64, 2u64, 3u64); 1 << 16]);
    assert_round_trip_in_all((0..1u32 << 15).map(|n| (n, n.to_string())).collect::<HashMap<_, _>>());
}

/// Takes a string only while the body that holds it is borrowed.
#[derive(Serialize, PartialEq, Debug, Clone)]
struct Borrowing(String);

impl<'de> Deserialize<'de> for Borrowing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BorrowingVisitor;

        impl<'de> Visitor<'de> for BorrowingVisitor {
            type Value = Borrowing;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a borrowed string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Borrowing, E> {
                Ok(Borrowing(text.to_owned()))
            }
        }

        deserializer.deserialize_str(BorrowingVisitor)
    }
}

#[test]
fn strings_borrowed_from_the_body() {
    assert_round_trip_in_all(Borrowing("borrowed".into()));
    assert_round_trip_in_all(vec![Some(Borrowing("within".into()))]);
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(transparent)]
struct Transparent {
    inner: Box<str>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(try_from = "u8", into = "u8")]
struct Even(u8);

impl TryFrom<u8> for Even {
    type Error = &'static str;

    fn try_from(n: u8) -> Result<Self, Self::Error> {
        if n.is_multiple_of(2) { Ok(Self(n)) } else { Err("odd\u{7}") }
    }
}

impl From<Even> for u8 {
    fn from(even: Even) -> u8 {
        even.0
    }
}

mod arc_str {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Into::into)
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Attributed {
    #[serde(rename = "first")]
    one: u8,
    #[serde(with = "arc_str")]
    two: Arc<str>,
    #[serde(skip)]
    three: u8,
    even: Even,
}

#[test]
fn attributes_that_every_codec_takes() {
    assert_round_trip_in_all(Attributed { one: 1, two: "two".into(), three: 0, even: Even(4) });
    for &codec in CodecId::supported() {
        let mut bytes = Vec::new();
        codec::encode(codec, &3u8, &mut bytes, 16).unwrap();
        let error = codec::decode::<Even>(codec, &bytes).unwrap_err();
        assert!(matches!(error, CodecError::Decode(_)), "{error}");
        assert!(!error.to_string().contains('\u{7}'), "{error:?}");
    }
}

#[derive(Serialize)]
struct Old {
    a: u32,
}

#[derive(Deserialize, PartialEq, Debug)]
struct New {
    a: u32,
    #[serde(default)]
    b: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Newest<'a> {
    a: u32,
    b: Option<Vec<String>>,
    c: BTreeMap<&'a str, (f64, [u8; 3])>,
}

#[test]
fn fields_added_and_fields_unknown() {
    for codec in self_describing() {
        let mut bytes = Vec::new();
        codec::encode(codec, &Old { a: 1 }, &mut bytes, 64).unwrap();
        assert_eq!(codec::decode(codec, &bytes), Ok(New { a: 1, b: None }), "{codec}");

        bytes.clear();
        let newest = Newest { a: 2, b: Some(vec!["b".into()]), c: BTreeMap::from([("c", (1e300, [1, 2, 3]))]) };
        codec::encode(codec, &newest, &mut bytes, 64).unwrap();
        assert_eq!(codec::decode(codec, &bytes), Ok(New { a: 2, b: newest.b }), "{codec}");
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Flat {
    id: u64,
    #[serde(flatten)]
    page: Page,
    #[serde(flatten)]
    rest: BTreeMap<String, Vec<u8>>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Page {
    number: u32,
    size: Option<u32>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Text(String),
    Many(Vec<Untagged>),
    Named { x: f32, y: Option<bool> },
    Nothing,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "kind")]
enum Internal {
    Plain,
    Flat(Flat),
    Named { inner: Box<Internal>, untagged: Untagged },
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "kind", content = "value")]
enum Adjacent {
    Plain,
    Pair(u8, Transparent),
    Named { inner: Vec<Adjacent> },
}

#[test]
fn flattened_untagged_and_tagged_types_in_self_describing_codecs() {
    let flat = Flat {
        id: u64::MAX,
        page: Page { number: 3, size: None },
        rest: BTreeMap::from([("more".into(), vec![1, 2]), ("none".into(), vec![])]),
    };
    let untagged = Untagged::Many(vec![
        Untagged::Number(-5),
        Untagged::Text("five".into()),
        Untagged::Many(vec![Untagged::Nothing]),
        Untagged::Named { x: 0.5, y: Some(true) },
        Untagged::Named { x: 0.5, y: None },
    ]);
    let named = Internal::Named { inner: Box::new(Internal::Flat(flat.clone())), untagged: untagged.clone() };
    let adjacent =
        Adjacent::Named { inner: vec![Adjacent::Plain, Adjacent::Pair(1, Transparent { inner: "t".into() })] };
    for codec in self_describing() {
        assert_round_trip(codec, flat.clone());
        assert_round_trip(codec, untagged.clone());
        assert_round_trip(codec, Internal::Plain);
        assert_round_trip(codec, named.clone());
        assert_round_trip(codec, adjacent.clone());
    }
}

#[test]
fn types_that_need_a_self_describing_codec_are_refused_by_the_others() {
    for codec in [CodecId::BINCODE, CodecId::POSTCARD].into_iter().filter(|codec| codec.is_supported()) {
        let mut bytes = Vec::new();
        codec::encode(codec, &Untagged::Number(1), &mut bytes, 16).unwrap();
        let error = codec::decode::<Untagged>(codec, &bytes).unwrap_err();
        assert!(error.to_string().contains("self-describing"), "{error}");
    }
}

#[cfg(feature = "json")]
#[test]
fn an_untyped_json_value() {
    let text = br#"{"a":[1,-2.5,null,true,"x"],"b":{"c":[]}}"#;
    let value: serde_json::Value = codec::decode(CodecId::JSON, text).unwrap();
    assert_eq!(value, serde_json::from_slice::<serde_json::Value>(text).unwrap());
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Node {
    value: String,
    next: Option<Box<Node>>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum List {
    End,
    Item(u64, Box<List>),
}

/// A type of the kind that nests deeply in earnest.
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum Expression {
    Number(f64),
    Text(String),
    Name { name: String, line: u32, column: u32 },
    Negate(Box<Expression>),
    Not(Box<Expression>),
    Add(Box<Expression>, Box<Expression>),
    Multiply(Box<Expression>, Box<Expression>),
    Compare { left: Box<Expression>, operator: String, right: Box<Expression>, line: u32 },
    Call { function: String, arguments: Vec<Expression>, named: BTreeMap<String, Expression> },
    If { condition: Box<Expression>, then: Box<Expression>, otherwise: Option<Box<Expression>> },
    Index(Box<Expression>, Box<Expression>),
    Tuple(Vec<Expression>),
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "kind")]
enum TaggedNode {
    End,
    Next { next: Box<TaggedNode> },
}

fn nested<T>(end: T, mut around: impl FnMut(T) -> T) -> T {
    (1..100).fold(end, |inner, _| around(inner))
}

/// Also in a debug build on the 2 MiB of a test's thread, which is what a tokio worker has.
#[test]
fn values_of_a_hundred_levels() {
    assert_round_trip_in_all(nested(Node { value: "end".into(), next: None }, |node| Node {
        value: "more".into(),
        next: Some(Box::new(node)),
    }));
    assert_round_trip_in_all(nested(List::End, |list| List::Item(1, Box::new(list))));
    assert_round_trip_in_all(nested(Expression::Number(1.0), |inner| Expression::Negate(Box::new(inner))));
    assert_round_trip_in_all(nested(Expression::Text("a".into()), |inner| Expression::If {
        condition: Box::new(Expression::Number(0.0)),
        then: Box::new(Expression::Name { name: "n".into(), line: 1, column: 2 }),
        otherwise: Some(Box::new(inner)),
    }));
    for codec in self_describing() {
        assert_round_trip(codec, nested(TaggedNode::End, |node| TaggedNode::Next { next: Box::new(node) }));
    }
}
