//! Many calls on one substream: `/p2prpc/1`, both ends of it.

mod cancelled;
pub(super) mod client;
pub(super) mod client_shared;
pub(super) mod client_task;
mod in_flight;
mod pipe;
mod reassembly;
mod replies;
mod requests;
mod send_queue;
pub(super) mod server;
pub(super) mod server_task;
mod unsent;
mod useless;
