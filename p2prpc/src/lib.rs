//! Typed peer-to-peer RPC over libp2p.

pub mod codec;
