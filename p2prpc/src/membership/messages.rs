//! What nodes tell each other of who is there.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::key::Topic;
use crate::fingerprint::Fingerprint;

/// Bytes that are read and written in one piece.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Blob(pub(super) Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl<'de> Visitor<'de> for Bytes {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Blob, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Blob(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// How far an asker has heard one member out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(super) epoch: u64,
    pub(super) version: u64,
}

/// A node's word about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Description {
    /// Which of the asker's rendezvous it is in too.
    pub(super) shared: Vec<Topic>,
    /// The services that the asker may call.
    pub(super) services: Vec<String>,
    /// Rises when services are added.
    pub(super) version: u64,
    /// What their methods look like. It travels as metadata of the answer: peers that were built before don't know of it.
    #[serde(skip)]
    pub(super) methods: Vec<Fingerprint>,
}

/// The methods of a peer that are told and kept; more aren't compared.
pub(super) const MAX_METHODS: usize = 256;

impl Description {
    /// What the methods look like, in order and each once, without what is past the bound.
    pub(super) fn bounded_methods(&self) -> Arc<[Fingerprint]> {
        let mut methods: Vec<_> = self.methods.iter().take(MAX_METHODS).copied().collect();
        methods.sort_unstable();
        methods.dedup_by_key(|(key, _)| *key);
        methods.into()
    }
}

/// A member, and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    pub(super) peer: Blob,
    pub(super) addresses: Vec<Blob>,
}

/// A node's word about others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub(super) cursor: Cursor,
    /// True if it knows more than fits: to be asked again from the cursor on.
    pub(super) more: bool,
    pub(super) members: Vec<Listed>,
    pub(super) gone: Vec<Blob>,
    /// The version of its own description.
    pub(super) description: u64,
}
