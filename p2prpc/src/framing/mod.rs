//! Frames as they come off a substream and go onto one, whichever end it is.

mod codes;
mod handshake;
mod messages;
mod recv_buffer;

pub(crate) use codes::{code_of, delivery_to_wire, error_of, failed_by_go_away};
pub(crate) use handshake::{encoded_item_hello, hello};
pub(crate) use messages::{Message, Messages, Unreadable};
pub(crate) use recv_buffer::{Part, RecvBuffer};
