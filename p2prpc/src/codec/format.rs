//! How the arguments of a call and its reply are written: natively with a codec, or as Go peers have it.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::gorpc::Gorpc;
use super::{CodecError, CodecId};
use crate::codec;
use crate::fingerprint::Fingerprint;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Native(CodecId),
    Gorpc(Gorpc),
}

impl Format {
    pub(crate) fn encode_args<A: Serialize>(self, args: &A, out: &mut Vec<u8>, max: usize) -> Result<(), CodecError> {
        match self {
            Format::Native(codec) => codec::encode(codec, args, out, max),
            Format::Gorpc(gorpc) => gorpc.encode_args(args, out, max),
        }
    }

    pub(crate) fn decode_args<A: DeserializeOwned>(self, method: &MethodNames, body: &[u8]) -> Result<A, CodecError> {
        match self {
            Format::Native(codec) => codec::decode(codec, body),
            Format::Gorpc(gorpc) => gorpc.decode_args(body, method.full, method.gorpc_strict),
        }
    }

    pub(crate) fn encode<T: Serialize>(self, value: &T, out: &mut Vec<u8>, max: usize) -> Result<(), CodecError> {
        match self {
            Format::Native(codec) => codec::encode(codec, value, out, max),
            Format::Gorpc(gorpc) => gorpc.encode(value, out, max),
        }
    }

    pub(crate) fn decode<T: DeserializeOwned>(self, method: &MethodNames, body: &[u8]) -> Result<T, CodecError> {
        match self {
            Format::Native(codec) => codec::decode(codec, body),
            Format::Gorpc(gorpc) => gorpc.decode_reply(body, method.full, method.gorpc_strict),
        }
    }

    /// In Go an error is its text.
    pub(crate) fn encode_error<E: Serialize + Display>(
        self,
        error: &E,
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        match self {
            Format::Native(codec) => codec::encode(codec, error, out, max),
            Format::Gorpc(gorpc) => gorpc.encode_error(error, out, max),
        }
    }
}

/// What a method is called, natively and by Go peers.
#[derive(Debug)]
pub(crate) struct MethodNames {
    /// `Service.Method`.
    pub(crate) full: &'static str,
    /// Of the service and the method, if Go peers know it.
    pub(crate) gorpc: Option<(&'static str, &'static str)>,
    /// A struct of a Go peer whose fields seem to have other names there is an error.
    pub(crate) gorpc_strict: bool,
    /// Stands for `full`.
    pub(crate) key: u64,
    /// As [`Method::FINGERPRINT`](crate::Method::FINGERPRINT).
    pub(crate) fingerprint: u64,
}

impl From<&MethodNames> for Fingerprint {
    fn from(method: &MethodNames) -> Self {
        (method.key, method.fingerprint)
    }
}

#[cfg(test)]
impl MethodNames {
    /// Without anything that peers could compare.
    pub(crate) const fn of_test(full: &'static str, gorpc: Option<(&'static str, &'static str)>) -> Self {
        MethodNames { full, gorpc, gorpc_strict: false, key: 0, fingerprint: 0 }
    }
}
