//! The part in a Kademlia DHT: queries, and the provider records that are kept for others.

pub(super) mod kademlia;
mod provider_store;

pub(super) use provider_store::ProviderStore;
