//! Why no handler is started for a call. Each protocol words it for its callers.

use crate::error::ErrorKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoService,
    NoMethod,
    /// A rule says no.
    Denied,
    /// The node is shutting down.
    Leaving,
    /// Too many calls are in flight.
    NoRoom,
    /// Too many calls of the method are in flight.
    NoRoomInMethod,
    /// Too many calls of the method have come lately.
    TooOften,
    /// Too many bytes are in flight.
    NoRoomForBytes,
    /// Its deadline had passed when it came.
    Late,
    /// Its codec isn't known here.
    Codec,
    /// Its arguments are past the limit.
    TooLarge,
}

impl Refusal {
    /// A caller who may not call is told what one is told that calls what isn't there.
    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Refusal::NoService | Refusal::NoMethod | Refusal::Denied => ErrorKind::NotServed,
            Refusal::Leaving => ErrorKind::ShuttingDown,
            Refusal::NoRoom | Refusal::NoRoomInMethod | Refusal::TooOften | Refusal::NoRoomForBytes => {
                ErrorKind::Overloaded
            }
            Refusal::Late => ErrorKind::DeadlineExceeded,
            Refusal::Codec => ErrorKind::UnsupportedCodec,
            Refusal::TooLarge => ErrorKind::TooLarge,
        }
    }

    /// What there is to say beside the kind.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Refusal::NoService | Refusal::NoMethod | Refusal::Denied | Refusal::Leaving => "",
            Refusal::NoRoom => "too many calls are in flight here (Limits::max_calls_per_peer and Limits::max_calls)",
            Refusal::NoRoomInMethod => "too many calls of the method are in flight here (its max_in_flight)",
            Refusal::TooOften => "too many calls of the method have come lately (its rate)",
            Refusal::NoRoomForBytes => {
                "too many bytes are in flight here (Limits::max_bytes_per_peer and Limits::max_bytes)"
            }
            Refusal::Late => "it had passed when the call came",
            Refusal::Codec => "the peer was built without it",
            Refusal::TooLarge => {
                "the arguments are larger than the peer takes (Limits::max_message, or the method's max_request)"
            }
        }
    }
}
