//! The `#[p2p_service]` attribute.
