//! The peers that are compared, each in its own file.

pub mod p2prpc;
#[cfg(feature = "request-response")]
pub mod request_response;
