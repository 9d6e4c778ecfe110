//! Which protocols a substream is offered in, and which of them was agreed on.

use std::convert::Infallible;
use std::future::{Ready, ready};

use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade};
use libp2p::{Stream, StreamProtocol};

use crate::context::Dialect;

/// The protocols of an application: that of this library, and the one that Go peers speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocols {
    native: Option<StreamProtocol>,
    gorpc: Option<StreamProtocol>,
}

impl Protocols {
    pub(super) fn new(native: Option<StreamProtocol>, gorpc: Option<StreamProtocol>) -> Self {
        Protocols { native, gorpc }
    }

    /// Without the other.
    pub(super) fn only(&self, dialect: Dialect) -> Self {
        match dialect {
            Dialect::Native => Protocols { native: self.native.clone(), gorpc: None },
            Dialect::Gorpc => Protocols { native: None, gorpc: self.gorpc.clone() },
        }
    }

    /// The dialect that this protocol is.
    pub(super) fn dialect_of(&self, protocol: &StreamProtocol) -> Option<Dialect> {
        if self.native.as_ref() == Some(protocol) {
            Some(Dialect::Native)
        } else if self.gorpc.as_ref() == Some(protocol) {
            Some(Dialect::Gorpc)
        } else {
            None
        }
    }
}

impl UpgradeInfo for Protocols {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Flatten<std::array::IntoIter<Option<StreamProtocol>, 2>>;

    /// This library's own is the one to be preferred.
    fn protocol_info(&self) -> Self::InfoIter {
        [self.native.clone(), self.gorpc.clone()].into_iter().flatten()
    }
}

/// A substream, and what is spoken on it.
type Agreed = (Dialect, Stream);

impl InboundUpgrade<Stream> for Protocols {
    type Output = Agreed;
    type Error = Infallible;
    type Future = Ready<Result<Agreed, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((self.dialect_of(&protocol).unwrap_or(Dialect::Native), stream)))
    }
}

impl OutboundUpgrade<Stream> for Protocols {
    type Output = Agreed;
    type Error = Infallible;
    type Future = Ready<Result<Agreed, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((self.dialect_of(&protocol).unwrap_or(Dialect::Native), stream)))
    }
}
