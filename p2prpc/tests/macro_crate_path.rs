//! `crate = ".."` says where the library is.

#![allow(missing_docs)]

/// A crate that passes the library on, under a name of its own.
mod reexport {
    pub(crate) mod deep {
        pub(crate) use p2prpc as renamed;
    }
}

mod absolute {
    use super::reexport::deep::renamed::{Context, p2p_service};

    #[p2p_service(crate = "crate::reexport::deep::renamed", name = "Renamed")]
    pub(crate) trait Absolute {
        async fn add(&self, cx: &Context, a: u8, b: u8) -> Result<u8, String>;
    }
}

mod relative {
    use super::reexport::deep::renamed as here;

    #[here::p2p_service(crate = "here")]
    pub(crate) trait Relative {
        async fn negate(&self, value: i8) -> i8;
    }
}

struct Numbers;

impl absolute::Absolute for Numbers {
    async fn add(&self, _: &p2prpc::Context, a: u8, b: u8) -> Result<u8, String> {
        a.checked_add(b).ok_or_else(|| "too large".to_owned())
    }
}

impl relative::Relative for Numbers {
    async fn negate(&self, value: i8) -> i8 {
        -value
    }
}

#[tokio::test]
async fn the_library_may_be_elsewhere() {
    let client = absolute::AbsoluteClient::local(Numbers);
    let peer = client.peer(client.local_peer_id().unwrap());
    assert_eq!(peer.add(1, 2).await.unwrap(), 3);

    let client = relative::RelativeClient::local(Numbers);
    let peer = client.peer(client.local_peer_id().unwrap());
    assert_eq!(peer.negate(1).await.unwrap(), -1);
}
