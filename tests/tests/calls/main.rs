//! Calls between peers: what they give, when they end, and what they leave.

mod any;
mod cancel;
mod connections;
mod deadline;
mod endings;
mod errors;
mod grace;
mod idle;
mod limits;
mod local;
mod multicall;
mod quota;
mod runtimes;
mod self_calls;
mod unary;
mod upgrade;
