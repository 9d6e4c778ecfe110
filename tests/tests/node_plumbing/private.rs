//! Private networks, and private nodes.

use std::time::{Duration, Instant};

use p2prpc::prelude::*;
use p2prpc::{NodeBuilder, PreSharedKey, StartError};

use super::support::{address, echoes, local, met, serving, started};

fn with(key: u8) -> NodeBuilder {
    serving().pre_shared_key(PreSharedKey::new([key; 32]))
}

#[tokio::test]
async fn nodes_with_one_key_find_and_call_each_other() {
    let one = started(with(1)).await;
    let other = started(with(1).bootstrap([address(&one)])).await;
    met(&one, &other).await;
    echoes(&one, other.peer_id()).await;
}

#[tokio::test]
async fn another_key_and_none_are_named_as_the_reason() {
    let one = started(with(1)).await;
    for stranger in [started(with(2)).await, started(serving()).await] {
        let began = Instant::now();
        let error = one.connect(address(&stranger)).await.unwrap_err().to_string();
        assert!(error.contains("the peer has another key, or none"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(15), "{error}");
        let error = stranger.connect(address(&one)).await.unwrap_err().to_string();
        assert!(error.contains("pre-shared key"), "{error}");
    }
    // Where there is nobody, no key is to blame.
    let nobody = started(local()).await;
    let gone = address(&nobody);
    nobody.shutdown(Duration::ZERO).await;
    let error = one.connect(gone).await.unwrap_err().to_string();
    assert!(error.contains("refused") && !error.contains("key"), "{error}");
}

#[tokio::test]
async fn quic_is_refused_in_a_private_network() {
    let quic = "/ip4/127.0.0.1/udp/0/quic-v1";
    let error = with(1).listen(quic).start().await.unwrap_err();
    assert!(matches!(error, StartError::InvalidAddress(_)), "{error:?}");
    assert!(error.to_string().contains("QUIC can't be used with a pre-shared key: give a TCP address"), "{error}");
    let bootstrap = format!("/ip4/127.0.0.1/udp/4001/quic-v1/p2p/{}", PeerId::random());
    assert!(with(1).bootstrap([bootstrap]).start().await.is_err());
}

#[tokio::test]
async fn a_private_node_has_a_rule() {
    let error = local().private().start().await.unwrap_err();
    assert!(matches!(error, StartError::PrivateWithoutRule), "{error:?}");
}
