//! The numbers that stand for something.

use super::{FIRST_IGNORED_KIND, WireError};

/// What a frame is.
///
/// The numbers 10 to 15 are kept for frames that a peer has to understand: until those exist they break the protocol. Kinds from [`FIRST_IGNORED_KIND`] on are ignored by who doesn't
/// know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Who one is: the first frame of both ends.
    Hello = 1,
    /// A call and the first chunk of its arguments.
    Request = 2,
    /// A return value, or its first chunk.
    Response = 3,
    /// A failed call.
    Error = 4,
    /// The next chunk of a request, response or error.
    Body = 5,
    /// The caller isn't interested any more.
    Cancel = 6,
    /// No more calls on this stream.
    GoAway = 7,
    /// An item of a streaming call, or its first chunk.
    Item = 8,
    /// No more items of a streaming call.
    End = 9,
}

impl Kind {
    /// `None` for a kind of a later version, which is to be ignored.
    pub(super) fn from_byte(byte: u8) -> Result<Option<Self>, WireError> {
        Ok(Some(match byte {
            1 => Kind::Hello,
            2 => Kind::Request,
            3 => Kind::Response,
            4 => Kind::Error,
            5 => Kind::Body,
            6 => Kind::Cancel,
            7 => Kind::GoAway,
            8 => Kind::Item,
            9 => Kind::End,
            FIRST_IGNORED_KIND.. => return Ok(None),
            _ => return Err(WireError::UnknownKind(byte)),
        }))
    }
}

/// What a stream is for, as its opener says in its `Hello`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// Any number of calls, one after the other and at once. The default.
    #[default]
    Calls = 0,
    /// One streaming call.
    OneCall = 1,
}

impl Role {
    pub(super) fn from_number(number: u64) -> Result<Self, WireError> {
        match number {
            0 => Ok(Role::Calls),
            1 => Ok(Role::OneCall),
            _ => Err(WireError::HelloRole(number)),
        }
    }
}

/// What the sender of an `Error` frame says of the handler. It is the sender's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Delivery {
    /// No handler was started and none will be for this call.
    NeverSent = 0,
    /// The handler was started and the error is its outcome.
    Answered = 1,
    /// The handler may have been started, and how far it came isn't known.
    MayHaveRun = 2,
}

impl Delivery {
    pub(super) fn from_number(number: u64) -> Result<Self, WireError> {
        match number {
            0 => Ok(Delivery::NeverSent),
            1 => Ok(Delivery::Answered),
            2 => Ok(Delivery::MayHaveRun),
            _ => Err(WireError::UnknownDelivery(number)),
        }
    }
}

/// Why a call failed, as the server says.
///
/// A number that this version doesn't know is kept as [`ErrorCode::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// 1: the handler returned an error of its own, which is the frame's body.
    Application,
    /// 2: there is no such service or method, or the caller may not call it.
    NotServed,
    /// 3: the arguments could not be decoded.
    BadArguments,
    /// 4: the handler panicked.
    Panicked,
    /// 5: too many calls or bytes are in flight.
    Overloaded,
    /// 6: the deadline passed.
    DeadlineExceeded,
    /// 7: a body is longer than a limit.
    TooLarge,
    /// 8: the server doesn't have the request's codec.
    UnsupportedCodec,
    /// 9: the handler was stopped before it answered.
    Cancelled,
    /// 10: the server is shutting down.
    ShuttingDown,
    /// 11: the handler's answer could not be encoded.
    BadReply,
    /// 12: the server failed in a way it doesn't explain.
    Internal,
    /// Any other number. Made by `ErrorCode::from`, which gives known numbers their own variant.
    Unknown(u64),
}

impl From<u64> for ErrorCode {
    fn from(number: u64) -> Self {
        match number {
            1 => ErrorCode::Application,
            2 => ErrorCode::NotServed,
            3 => ErrorCode::BadArguments,
            4 => ErrorCode::Panicked,
            5 => ErrorCode::Overloaded,
            6 => ErrorCode::DeadlineExceeded,
            7 => ErrorCode::TooLarge,
            8 => ErrorCode::UnsupportedCodec,
            9 => ErrorCode::Cancelled,
            10 => ErrorCode::ShuttingDown,
            11 => ErrorCode::BadReply,
            12 => ErrorCode::Internal,
            _ => ErrorCode::Unknown(number),
        }
    }
}

impl From<ErrorCode> for u64 {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Application => 1,
            ErrorCode::NotServed => 2,
            ErrorCode::BadArguments => 3,
            ErrorCode::Panicked => 4,
            ErrorCode::Overloaded => 5,
            ErrorCode::DeadlineExceeded => 6,
            ErrorCode::TooLarge => 7,
            ErrorCode::UnsupportedCodec => 8,
            ErrorCode::Cancelled => 9,
            ErrorCode::ShuttingDown => 10,
            ErrorCode::BadReply => 11,
            ErrorCode::Internal => 12,
            ErrorCode::Unknown(number) => number,
        }
    }
}

/// Why an end takes no more calls on a stream.
///
/// A number that this version doesn't know is kept as [`GoAwayReason::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GoAwayReason {
    /// 1: the sender is shutting down.
    ShuttingDown,
    /// 2: the other end broke the protocol; the sender closes the stream at once.
    ProtocolError,
    /// 3: another stream of the same caller has taken the place of this one.
    Replaced,
    /// 4: the stream has been without a call for long, or the sender needs the room.
    Idle,
    /// 5: the other end was too slow or asked too much.
    Overloaded,
    /// Any other number. Made by `GoAwayReason::from`, which gives known numbers their own variant.
    Unknown(u64),
}

impl From<u64> for GoAwayReason {
    fn from(number: u64) -> Self {
        match number {
            1 => GoAwayReason::ShuttingDown,
            2 => GoAwayReason::ProtocolError,
            3 => GoAwayReason::Replaced,
            4 => GoAwayReason::Idle,
            5 => GoAwayReason::Overloaded,
            _ => GoAwayReason::Unknown(number),
        }
    }
}

impl From<GoAwayReason> for u64 {
    fn from(reason: GoAwayReason) -> Self {
        match reason {
            GoAwayReason::ShuttingDown => 1,
            GoAwayReason::ProtocolError => 2,
            GoAwayReason::Replaced => 3,
            GoAwayReason::Idle => 4,
            GoAwayReason::Overloaded => 5,
            GoAwayReason::Unknown(number) => number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_known_and_unknown_come_back() {
        for number in (0..20).chain([u64::MAX]) {
            assert_eq!(u64::from(ErrorCode::from(number)), number);
            assert_eq!(u64::from(GoAwayReason::from(number)), number);
        }
    }
}
