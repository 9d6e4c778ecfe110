//! The recorded bytes, and the types that Go had for them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CodecError, Header, decode, encode};
use crate::gorpc::Time;

/// A line of a fixture.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    pub(super) name: String,
    #[serde(default)]
    pub(super) what: String,
    #[serde(default)]
    pub(super) go_type: String,
    #[serde(default)]
    pub(super) value: Value,
    pub(super) value_before: Option<Value>,
    #[serde(default)]
    pub(super) accepted: bool,
    hex: Option<String>,
    recipe: Option<Recipe>,
}

/// Bytes that are mostly the same one.
#[derive(Debug, Deserialize)]
struct Recipe {
    head_hex: String,
    fill_byte: String,
    fill_len: usize,
    tail_hex: String,
}

impl Record {
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        match (&self.hex, &self.recipe) {
            (Some(hex), _) => Some(unhex(hex)),
            (None, Some(recipe)) => {
                let fill = unhex(&recipe.fill_byte).repeat(recipe.fill_len);
                Some([unhex(&recipe.head_hex), fill, unhex(&recipe.tail_hex)].concat())
            }
            (None, None) => None,
        }
    }
}

pub(super) fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn records(file: &str) -> Vec<Record> {
    serde_json::from_str(file).unwrap()
}

/// The value that the bytes begin with, or all of them if it isn't whole.
pub(super) fn first_value(bytes: &[u8]) -> &[u8] {
    let (mut at, mut left) = (0, 1);
    while left > 0 {
        let Some(Ok(Some((header, len)))) = bytes.get(at..).map(Header::read) else { return bytes };
        at += len + header.payload();
        left = left - 1 + header.parts();
    }
    bytes.get(..at).unwrap_or(bytes)
}

/// `[]byte`, nil or not.
pub(super) type Bytes = Option<serde_bytes::ByteBuf>;

macro_rules! of_go {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, PartialEq, Serialize, Deserialize)]
            #[serde(rename_all = "PascalCase")]
            pub(super) struct $name {
                $($(#[$field_meta])* pub(super) $field: $type,)*
            }
        )*
    };
}

of_go! {
    Envelope { message: String, }
    Empty {}
    Args { a: i64, b: i64, }
    #[derive(Clone, Eq, PartialOrd, Ord)]
    Inner { x: i64, y: String, }
    Outer { i: Inner, p: Option<Inner>, l: Option<Vec<Inner>>, }
    /// `struct { Inner; Z bool }`.
    Emb {
        #[serde(flatten)]
        inner: Inner,
        z: bool,
    }
    /// `struct { *Inner; Z bool }`: nobody can tell from its fields whether there is one.
    EmbPtr { x: Option<i64>, y: Option<String>, z: bool, }
    EmbNamed {
        #[serde(rename = "inner")]
        inner: Inner,
        z: bool,
    }
    EmbShadow { y: String, x: String, }
    JsonTags {
        #[serde(rename = "a")]
        a: i64,
        #[serde(rename = "b", skip_serializing_if = "String::is_empty")]
        b: String,
        #[serde(rename = "d", skip_serializing_if = "Vec::is_empty")]
        d: Vec<i64>,
        #[serde(skip_serializing_if = "String::is_empty")]
        e: String,
    }
    CodecTags {
        #[serde(rename = "x")]
        a: i64,
        #[serde(rename = "y", skip_serializing_if = "String::is_empty")]
        b: String,
        #[serde(skip_serializing_if = "is_zero")]
        d: i64,
        #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
        e: Option<i64>,
    }
    OmitAll {
        #[serde(skip_serializing_if = "Option::is_none")]
        p: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        l: Option<Vec<i64>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        m: Option<BTreeMap<String, i64>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        e: Option<i64>,
        #[serde(rename = "In", skip_serializing_if = "Option::is_none")]
        inner: Option<Inner>,
        #[serde(skip_serializing_if = "Option::is_none")]
        a: Option<[i64; 2]>,
    }
    Kinds {
        b: bool,
        i: i64,
        i8: i8,
        u: u64,
        u8: u8,
        f: f32,
        d: f64,
        s: String,
        bs: Bytes,
        l: Option<Vec<String>>,
        m: Option<BTreeMap<String, i64>>,
        p: Option<String>,
        t: Time,
    }
    Any { v: Value, }
    HasArray { h: serde_bytes::ByteArray<4>, }
    HasPeer { p: libp2p::PeerId, }
    HasAddress { m: Option<libp2p::Multiaddr>, }
    HasCid { c: Bytes, }
    HasError { err: Option<Empty>, }
    OnlyA { a: i64, }
    AddrInfo {
        #[serde(rename = "ID")]
        id: libp2p::PeerId,
        addrs: Option<Vec<libp2p::Multiaddr>>,
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Tagged `toarray`: Go writes it without names.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ToArray(pub(super) i64, pub(super) String);

/// What was read, as JSON, and what is written for it. None for a type that has no counterpart here.
pub(super) fn reread(go_type: &str, bytes: &[u8]) -> Option<Result<(Value, Vec<u8>), CodecError>> {
    Some(match go_type {
        "bool" => again::<bool>(bytes),
        "int8" | "Level" => again::<i8>(bytes),
        "int16" => again::<i16>(bytes),
        "int32" => again::<i32>(bytes),
        "int" | "int64" | "time.Duration" | "time.Weekday" => again::<i64>(bytes),
        "uint8" => again::<u8>(bytes),
        "uint16" => again::<u16>(bytes),
        "uint32" => again::<u32>(bytes),
        "uint" | "uint64" | "uintptr" => again::<u64>(bytes),
        "float32" => again::<f32>(bytes),
        "float64" => again::<f64>(bytes),
        "string" | "Color" => again::<String>(bytes),
        "[]uint8" | "Bytes" | "net.IP" | "cid.Cid" => again::<Bytes>(bytes),
        "[4]uint8" | "*[4]uint8" => again::<serde_bytes::ByteArray<4>>(bytes),
        "[0]uint8" => again::<serde_bytes::ByteArray<0>>(bytes),
        "[][]uint8" => again::<Vec<Bytes>>(bytes),
        "[3]int" => again::<[i64; 3]>(bytes),
        "[]int" | "chan int" => again::<Vec<i64>>(bytes),
        "[]int8" => again::<Vec<i8>>(bytes),
        "[]bool" => again::<Vec<bool>>(bytes),
        "[]string" => again::<Option<Vec<String>>>(bytes),
        "[]Inner" => again::<Vec<Inner>>(bytes),
        "[]*Inner" => again::<Vec<Option<Inner>>>(bytes),
        "interface{}" => again::<Value>(bytes),
        "[]interface{}" => again::<Vec<Value>>(bytes),
        "map[string]string" => again::<Option<BTreeMap<String, String>>>(bytes),
        "map[int]string" => again::<BTreeMap<i64, String>>(bytes),
        "map[uint16]string" => again::<BTreeMap<u16, String>>(bytes),
        "map[bool]string" => again::<BTreeMap<bool, String>>(bytes),
        "map[string]*Inner" => again::<BTreeMap<String, Option<Inner>>>(bytes),
        "map[string]struct {}" => again::<BTreeMap<String, Empty>>(bytes),
        "map[string]interface{}" => again::<BTreeMap<String, Value>>(bytes),
        "map[Inner]bool" => again_unshown::<BTreeMap<Inner, bool>>(bytes),
        "Envelope" => again::<Envelope>(bytes),
        "*Envelope" | "**Envelope" => again::<Option<Envelope>>(bytes),
        "Empty" => again::<Empty>(bytes),
        "struct {}" | "*struct {}" | "error (*errors.errorString)" => again::<()>(bytes),
        "Args" => again::<Args>(bytes),
        "Outer" => again::<Outer>(bytes),
        "Emb" => again::<Emb>(bytes),
        "EmbPtr" => again::<EmbPtr>(bytes),
        "EmbNamed" => again::<EmbNamed>(bytes),
        "EmbShadow" => again::<EmbShadow>(bytes),
        "JSONTags" => again::<JsonTags>(bytes),
        "CodecTags" => again::<CodecTags>(bytes),
        "OmitAll" => again::<OmitAll>(bytes),
        "ToArray" => again::<ToArray>(bytes),
        "Wide" | "Wide15" => again::<BTreeMap<String, u8>>(bytes),
        "Kinds" => again::<Kinds>(bytes),
        "Any" => again::<Any>(bytes),
        "struct { H [4]uint8 }" => again::<HasArray>(bytes),
        "struct { A int }" | "struct { A int; F func() }" => again::<OnlyA>(bytes),
        "ErrField" => again::<HasError>(bytes),
        "time.Time" => again::<Time>(bytes),
        "*time.Time" => again::<Option<Time>>(bytes),
        "peer.ID" | "*peer.ID" => again::<libp2p::PeerId>(bytes),
        "[]peer.ID" => again::<Vec<libp2p::PeerId>>(bytes),
        "map[peer.ID]int" => again::<BTreeMap<libp2p::PeerId, i64>>(bytes),
        "struct { P peer.ID }" => again::<HasPeer>(bytes),
        "multiaddr.Multiaddr" => again::<libp2p::Multiaddr>(bytes),
        "[]multiaddr.Multiaddr" => again::<Vec<libp2p::Multiaddr>>(bytes),
        "struct { M multiaddr.Multiaddr }" => again::<HasAddress>(bytes),
        "struct { C cid.Cid }" => again::<HasCid>(bytes),
        "peer.AddrInfo" => again::<AddrInfo>(bytes),
        _ => return None,
    })
}

fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<(Value, Vec<u8>), CodecError> {
    let value: T = decode(bytes)?;
    let mut out = Vec::new();
    encode(&value, &mut out, 1 << 20)?;
    Ok((serde_json::to_value(&value).unwrap(), out))
}

/// Of a type that JSON has no form for.
fn again_unshown<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<(Value, Vec<u8>), CodecError> {
    let value: T = decode(bytes)?;
    let mut out = Vec::new();
    encode(&value, &mut out, 1 << 20)?;
    Ok((Value::Null, out))
}
