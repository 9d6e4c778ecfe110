//! A node's plumbing: starting, listening, connecting, admitting, ending.

mod calling;
mod connecting;
mod dht;
mod diagnosing;
mod dialling;
mod differing;
mod ending;
mod logging;
mod meeting;
mod private;
mod refusing;
mod starting;
mod support;
