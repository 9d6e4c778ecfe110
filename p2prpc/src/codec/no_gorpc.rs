//! What stands for [`gorpc`](super::gorpc) where it isn't compiled in: nothing is ever encoded in it.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CodecError;

/// There is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gorpc {}

impl Gorpc {
    pub(crate) const AVAILABLE: Option<Gorpc> = None;

    pub(crate) fn encode<T: Serialize>(self, _: &T, _: &mut Vec<u8>, _: usize) -> Result<(), CodecError> {
        match self {}
    }

    pub(crate) fn encode_args<T: Serialize>(self, _: &T, _: &mut Vec<u8>, _: usize) -> Result<(), CodecError> {
        match self {}
    }

    pub(crate) fn encode_error(self, _: &impl Display, _: &mut Vec<u8>, _: usize) -> Result<(), CodecError> {
        match self {}
    }

    pub(crate) fn decode_args<T: DeserializeOwned>(self, _: &[u8], _: &'static str, _: bool) -> Result<T, CodecError> {
        match self {}
    }

    pub(crate) fn decode_reply<T: DeserializeOwned>(self, _: &[u8], _: &'static str, _: bool) -> Result<T, CodecError> {
        match self {}
    }
}
