//! Which protocols a substream is offered in, and which of them was agreed on.

use std::convert::Infallible;
use std::future::{Ready, ready};

use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade};
use libp2p::{Stream, StreamProtocol};

use super::ping;
use crate::call::Dialect;
use crate::wire::STREAMS_SUFFIX;

const PING: StreamProtocol = StreamProtocol::new(ping::PROTOCOL);

/// The protocols of an application: that of this library, and the one that Go peers speak; and pings beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocols {
    native: Option<StreamProtocol>,
    gorpc: Option<StreamProtocol>,
    ping: Option<StreamProtocol>,
    /// What is appended to the native one for streaming calls makes this one.
    streams: Option<StreamProtocol>,
}

/// What a substream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// Calls, in this dialect.
    Calls(Dialect),
    /// Streaming calls, one after the other.
    Stream,
    /// Pings.
    Ping,
}

impl Protocols {
    pub(super) fn new(native: Option<StreamProtocol>, gorpc: Option<StreamProtocol>) -> Self {
        let streams = native.as_ref().map(|native| format!("{native}{STREAMS_SUFFIX}"));
        let streams = streams.and_then(|name| StreamProtocol::try_from_owned(name).ok());
        Protocols { native, gorpc, ping: Some(PING), streams }
    }

    /// Those for calls.
    pub(super) fn calls(&self) -> Self {
        Protocols { ping: None, streams: None, ..self.clone() }
    }

    /// That for calls in one dialect.
    pub(super) fn only(&self, dialect: Dialect) -> Self {
        match dialect {
            Dialect::Native => Protocols { native: self.native.clone(), gorpc: None, ping: None, streams: None },
            Dialect::Gorpc => Protocols { native: None, gorpc: self.gorpc.clone(), ping: None, streams: None },
        }
    }

    /// That for pings.
    pub(super) fn ping() -> Self {
        Protocols { native: None, gorpc: None, ping: Some(PING), streams: None }
    }

    /// That for streaming calls.
    pub(super) fn streams(&self) -> Self {
        Protocols { native: None, gorpc: None, ping: None, streams: self.streams.clone() }
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

    fn spoken(&self, protocol: &StreamProtocol) -> Spoken {
        if self.ping.as_ref() == Some(protocol) {
            Spoken::Ping
        } else if self.streams.as_ref() == Some(protocol) {
            Spoken::Stream
        } else {
            Spoken::Calls(self.dialect_of(protocol).unwrap_or(Dialect::Native))
        }
    }
}

impl UpgradeInfo for Protocols {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Flatten<std::array::IntoIter<Option<StreamProtocol>, 4>>;

    /// This library's own is the one to be preferred.
    fn protocol_info(&self) -> Self::InfoIter {
        [self.native.clone(), self.gorpc.clone(), self.streams.clone(), self.ping.clone()].into_iter().flatten()
    }
}

/// A substream, and what is spoken on it.
type Agreed = (Spoken, Stream);

impl InboundUpgrade<Stream> for Protocols {
    type Output = Agreed;
    type Error = Infallible;
    type Future = Ready<Result<Agreed, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((self.spoken(&protocol), stream)))
    }
}

impl OutboundUpgrade<Stream> for Protocols {
    type Output = Agreed;
    type Error = Infallible;
    type Future = Ready<Result<Agreed, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((self.spoken(&protocol), stream)))
    }
}
