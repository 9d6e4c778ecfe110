//! The words of the wire for the words of the library, and back.

use crate::error::{Delivery, ErrorKind, RpcError};
use crate::wire;

pub(crate) fn code_of(kind: ErrorKind) -> wire::ErrorCode {
    match kind {
        ErrorKind::Application => wire::ErrorCode::Application,
        ErrorKind::NotServed => wire::ErrorCode::NotServed,
        ErrorKind::BadArguments => wire::ErrorCode::BadArguments,
        ErrorKind::Panicked => wire::ErrorCode::Panicked,
        ErrorKind::Overloaded => wire::ErrorCode::Overloaded,
        ErrorKind::DeadlineExceeded => wire::ErrorCode::DeadlineExceeded,
        ErrorKind::TooLarge => wire::ErrorCode::TooLarge,
        ErrorKind::UnsupportedCodec => wire::ErrorCode::UnsupportedCodec,
        ErrorKind::Cancelled => wire::ErrorCode::Cancelled,
        ErrorKind::ShuttingDown => wire::ErrorCode::ShuttingDown,
        ErrorKind::BadReply => wire::ErrorCode::BadReply,
        _ => wire::ErrorCode::Internal,
    }
}

fn kind_of(code: wire::ErrorCode) -> ErrorKind {
    match code {
        wire::ErrorCode::Application => ErrorKind::Application,
        wire::ErrorCode::NotServed => ErrorKind::NotServed,
        wire::ErrorCode::BadArguments => ErrorKind::BadArguments,
        wire::ErrorCode::Panicked => ErrorKind::Panicked,
        wire::ErrorCode::Overloaded => ErrorKind::Overloaded,
        wire::ErrorCode::DeadlineExceeded => ErrorKind::DeadlineExceeded,
        wire::ErrorCode::TooLarge => ErrorKind::TooLarge,
        wire::ErrorCode::UnsupportedCodec => ErrorKind::UnsupportedCodec,
        wire::ErrorCode::Cancelled => ErrorKind::Cancelled,
        wire::ErrorCode::ShuttingDown => ErrorKind::ShuttingDown,
        wire::ErrorCode::BadReply => ErrorKind::BadReply,
        _ => ErrorKind::Internal,
    }
}

pub(crate) fn delivery_to_wire(delivery: Delivery) -> wire::Delivery {
    match delivery {
        Delivery::NeverSent => wire::Delivery::NeverSent,
        Delivery::MayHaveRun => wire::Delivery::MayHaveRun,
        Delivery::Answered => wire::Delivery::Answered,
    }
}

pub(crate) fn error_of(reply: &wire::ErrorReply<'_>) -> RpcError {
    let delivery = match reply.delivery {
        wire::Delivery::NeverSent => Delivery::NeverSent,
        wire::Delivery::MayHaveRun => Delivery::MayHaveRun,
        wire::Delivery::Answered => Delivery::Answered,
    };
    RpcError::new(kind_of(reply.code), delivery, reply.message)
}

pub(crate) fn failed_by_go_away(reason: wire::GoAwayReason, message: &str) -> RpcError {
    let kind = match reason {
        wire::GoAwayReason::ShuttingDown => ErrorKind::ShuttingDown,
        wire::GoAwayReason::Overloaded => ErrorKind::Overloaded,
        _ => ErrorKind::ConnectionLost,
    };
    RpcError::never_sent(kind, message)
}
