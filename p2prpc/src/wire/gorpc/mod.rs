//! The bytes of [go-libp2p-gorpc](https://github.com/libp2p/go-libp2p-gorpc)'s records: the headers of calls, and where a value ends.

pub(crate) mod header;
pub(crate) mod scan;
