//! A peer that may speak either dialect, and whose word and deeds differ.

use super::*;
use crate::call::Dialect;
use crate::error::{Delivery, ErrorKind};
use crate::peer::BilingualLink;

#[tokio::test(start_paused = true)]
async fn a_stream_in_the_other_dialect_settles_the_calls_that_waited_for_it() {
    let (asks, mut asked) = mpsc::unbounded_channel();
    let config = Arc::new(SessionConfig::new(Limits::default(), Duration::from_secs(60), Box::new(Asks(asks))));
    let native = PeerLink::new(PeerId::random(), config.clone());
    let link = BilingualLink::new(native.clone(), config);
    // The peer has named our dialect, and takes a stream that was proposed in both for one of gorpc.
    link.decided(Dialect::Native, None);
    let calling = Calling::over(native, mpsc::unbounded_channel().1);
    let (key, _lost) = link.connected(calling.on.clone());
    let call = calling.call(b"x", Duration::from_secs(10));
    asked.recv().await.expect("a stream is asked for");
    assert!(link.wants_stream());
    let (ours, _theirs) = tokio::io::duplex(1024);
    link.decided_by(key, Box::new(ours.compat()));
    let Err(error) = call.result().await else { panic!("it can't be answered") };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotSupported, Delivery::NeverSent));
    assert!(!link.wants_stream());
    assert!(asked.try_recv().is_err(), "no other stream is asked for");
}
