//! The formats that a call may have to be written in.

use super::Dialect;
use crate::codec::Format;
use crate::codec::gorpc::Gorpc;

impl From<Format> for Dialect {
    fn from(format: Format) -> Self {
        match format {
            Format::Native(_) => Dialect::Native,
            Format::Gorpc(_) => Dialect::Gorpc,
        }
    }
}

/// The formats that a call may have to be written in, as far as its peer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Formats {
    pub(crate) native: bool,
    pub(crate) gorpc: Option<Gorpc>,
}

impl Formats {
    /// The peer speaks natively.
    pub(crate) const NATIVE: Formats = Formats { native: true, gorpc: None };

    /// The peer speaks this dialect; either, if that isn't known yet.
    pub(crate) fn of(dialect: Option<Dialect>) -> Self {
        match dialect {
            Some(Dialect::Native) => Formats::NATIVE,
            Some(Dialect::Gorpc) => Formats { native: false, gorpc: Gorpc::AVAILABLE },
            None => Formats { native: true, gorpc: Gorpc::AVAILABLE },
        }
    }
}
