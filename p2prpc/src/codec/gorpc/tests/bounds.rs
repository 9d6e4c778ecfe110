//! Bytes that mean harm.

use super::{CodecError, decode};
use crate::codec::gorpc::tests::golden::{Args, Envelope};

fn refused<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> CodecError {
    decode::<T>(bytes).err().expect("it is refused")
}

#[test]
fn lengths_that_are_not_there_are_refused_before_room_is_made() {
    for bytes in [
        &[0xdb, 0xff, 0xff, 0xff, 0xff][..],
        &[0xc6, 0xff, 0xff, 0xff, 0xff],
        &[0xdd, 0xff, 0xff, 0xff, 0xff],
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
    ] {
        refused::<String>(bytes);
        refused::<serde_bytes::ByteBuf>(bytes);
        refused::<Vec<u64>>(bytes);
        refused::<std::collections::HashMap<String, u64>>(bytes);
        refused::<Envelope>(bytes);
        refused::<serde_json::Value>(bytes);
        refused::<()>(bytes);
        let under_unknown_key = [&[0x81, 0xa1, b'?'][..], bytes].concat();
        refused::<Args>(&under_unknown_key);
    }
}

#[test]
fn nesting_has_an_end() {
    let deep = [vec![0x91; 100_000], vec![0xc0]].concat();
    refused::<serde_json::Value>(&deep);
    let maps = [b"\x81\xa1a".repeat(100_000), vec![0xc0]].concat();
    refused::<serde_json::Value>(&maps);
    let under_unknown_key = |depth| [&[0x82, 0xa1, b'?'][..], &vec![0x91; depth], &[0xc0, 0xa1, b'A', 7]].concat();
    refused::<Args>(&under_unknown_key(100_000));
    assert_eq!(decode::<Args>(&under_unknown_key(100)), Ok(Args { a: 7, b: 0 }));
}

#[test]
fn every_cut_is_an_error() {
    let whole = [0x82, 0xa1, b'A', 0xd1, 1, 2, 0xa1, b'B', 0x08];
    assert_eq!(decode::<Args>(&whole), Ok(Args { a: 258, b: 8 }));
    for end in 0..whole.len() {
        refused::<Args>(&whole[..end]);
    }
}
