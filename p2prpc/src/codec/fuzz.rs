//! Values from any bytes, in every codec: within their budget, and the same when they are written and read again.

use std::collections::BTreeMap;

use bolero::TypeGenerator;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[cfg(feature = "gorpc")]
use super::gorpc::Gorpc;
use super::*;

const ROOM: usize = 1 << 24;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TypeGenerator)]
enum Tree {
    Leaf,
    Number(i64),
    Text(String),
    Pair(Box<Tree>, Box<Tree>),
    Many(Vec<Tree>),
    Named { key: String, value: Option<Box<Tree>> },
}

impl Tree {
    /// What it takes beside its own size.
    fn memory(&self) -> usize {
        let all = |trees: &[Tree]| trees.iter().map(|tree| size_of::<Tree>() + tree.memory()).sum::<usize>();
        match self {
            Tree::Leaf | Tree::Number(_) => 0,
            Tree::Text(text) => text.len(),
            Tree::Pair(one, other) => 2 * size_of::<Tree>() + one.memory() + other.memory(),
            Tree::Many(trees) => all(trees),
            Tree::Named { key, value } => {
                key.len() + value.as_ref().map_or(0, |value| size_of::<Tree>() + value.memory())
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, TypeGenerator)]
struct Everything {
    flag: bool,
    numbers: (u8, i16, u32, i64, u64),
    float: f64,
    letter: char,
    text: String,
    bytes: [u8; 5],
    list: Vec<u32>,
    nothings: Vec<()>,
    map: BTreeMap<String, i32>,
    maybe: Option<String>,
    unit: (),
}

impl Everything {
    fn memory(&self) -> usize {
        let strings: usize = self.map.keys().chain(&self.maybe).chain([&self.text]).map(String::len).sum();
        strings + self.list.len() * size_of::<u32>() + self.map.len() * size_of::<(String, i32)>()
    }
}

trait Form {
    fn write<T: Serialize>(self, value: &T) -> Option<Vec<u8>>;
    fn read<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, CodecError>;
}

impl Form for CodecId {
    fn write<T: Serialize>(self, value: &T) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        encode(self, value, &mut out, ROOM).ok().map(|()| out)
    }

    fn read<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, CodecError> {
        decode(self, bytes)
    }
}

#[cfg(feature = "gorpc")]
impl Form for Gorpc {
    fn write<T: Serialize>(self, value: &T) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        gorpc::encode(value, &mut out, ROOM).ok().map(|()| out)
    }

    fn read<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, CodecError> {
        let args = self.decode_args::<T>(bytes, "Fuzz.Args", false);
        let value = gorpc::decode(bytes);
        if bytes.is_empty() {
            assert!(args.is_err() && value.is_err(), "nothing is no value");
        }
        value
    }
}

/// What is read takes no more than it may, and is the same once it is written and read.
fn is_read_well<T>(form: impl Form + Copy, bytes: &[u8], memory: impl Fn(&T) -> usize)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let Ok(value) = form.read::<T>(bytes) else { return };
    assert!(memory(&value) <= decode_budget(bytes.len()) + bytes.len(), "{} of {}", memory(&value), bytes.len());
    let Some(written) = form.write(&value) else { return };
    let again = form.read::<T>(&written).expect("what was written can be read");
    assert_eq!(form.write(&again), Some(written), "{value:?} and {again:?}");
}

fn all_are_read_well(form: impl Form + Copy, bytes: &[u8]) {
    is_read_well::<Tree>(form, bytes, Tree::memory);
    is_read_well::<Everything>(form, bytes, Everything::memory);
    is_read_well::<Vec<Tree>>(form, bytes, |trees| trees.iter().map(|tree| size_of::<Tree>() + tree.memory()).sum());
    is_read_well::<Vec<()>>(form, bytes, Vec::len);
    is_read_well::<BTreeMap<u64, Vec<String>>>(form, bytes, |map| {
        let list = |list: &Vec<String>| list.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
        map.values().map(|texts| list(texts) + size_of::<(u64, Vec<String>)>()).sum()
    });
}

#[test]
fn bytes_are_a_value_within_its_budget_or_none() {
    fuzz!().for_each(|bytes: &[u8]| {
        for codec in CodecId::supported() {
            all_are_read_well(*codec, bytes);
        }
        #[cfg(feature = "gorpc")]
        all_are_read_well(Gorpc, bytes);
    });
}

fn comes_back<T>(form: impl Form + Copy, value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let written = form.write(value).expect("there is room");
    let read = form.read::<T>(&written).expect("what was written can be read");
    assert_eq!(read, *value);
    for cut in (0..written.len()).step_by(1 + written.len() / 16) {
        if let Ok(short) = form.read::<T>(&written[..cut]) {
            // Digits of a number in JSON are a number too.
            assert_ne!(short, *value, "{cut} of {} bytes are the same value", written.len());
        }
    }
    assert!(form.read::<T>(&[&written[..], &[0xc3]].concat()).is_err(), "a byte is left over");
}

#[test]
fn values_come_back_whole_or_not_at_all() {
    fuzz!().with_type::<(Tree, Everything)>().with_max_len(512).for_each(|(tree, everything)| {
        let mut everything = everything.clone();
        if !everything.float.is_finite() {
            everything.float = 0.5;
        }
        for codec in CodecId::supported() {
            comes_back(*codec, tree);
            comes_back(*codec, &everything);
        }
        #[cfg(feature = "gorpc")]
        {
            comes_back(Gorpc, tree);
            comes_back(Gorpc, &everything);
        }
    });
}
