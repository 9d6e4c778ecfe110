//! A peer that is called.

use std::sync::Arc;

use super::*;
use crate::error::{ErrorKind, RpcError};
use crate::fuzzing::with_paused_clock;
use crate::limits::Limits;
use crate::peer::ClientStream;
use crate::peer::tests::{Calling, Ongoing};
use tokio_util::compat::TokioAsyncReadCompatExt;

#[derive(Clone, Debug, TypeGenerator)]
enum Act {
    Call {
        len: u32,
        seconds: u8,
        again: bool,
    },
    /// The caller has had enough.
    Drop(u8),
    /// The stream that was asked for is opened, if one was.
    Open {
        narrow: bool,
    },
    NotOpened,
    Word(Word),
    Read(u16),
    Wait(Wait),
    /// The connection ends.
    Lose,
    /// The peer ends the stream.
    HangUp,
    /// The connection is silent, and there is a better one.
    Leave,
}

struct Scene {
    calling: Calling,
    calls: Vec<Ongoing>,
    stream: Option<Arc<ClientStream>>,
    wire: Option<Wire>,
    last: u64,
}

fn limits() -> Limits {
    Limits { max_message: 128 * 1024, max_calls_per_peer: 8, max_bytes_per_peer: 256 * 1024, ..Limits::default() }
}

impl Scene {
    async fn act(&mut self, act: &Act) {
        match act {
            Act::Call { len, seconds, again } => {
                self.calling.again = *again;
                let body = vec![1; *len as usize % 200_000];
                self.calls.push(self.calling.call(&body, Duration::from_secs((*seconds).into())));
            }
            Act::Drop(at) => {
                if !self.calls.is_empty() {
                    let call = self.calls.swap_remove(usize::from(*at) % self.calls.len());
                    call.cancel();
                }
            }
            Act::Open { narrow } => {
                let Ok(asking) = self.calling.asked.try_recv() else { return };
                let (ours, theirs) = tokio::io::duplex(if *narrow { 300 } else { 64 * 1024 });
                self.stream = asking.attach(&self.calling.on, ours.compat());
                self.wire = Some(Wire::new(theirs));
                self.last = 0;
            }
            Act::NotOpened => {
                if let Ok(asking) = self.calling.asked.try_recv() {
                    asking.open_failed(&RpcError::never_sent(ErrorKind::Unreachable, "it isn't there"));
                }
            }
            Act::Word(word) => {
                let bytes = word.bytes(self.last);
                if let Some(wire) = &mut self.wire {
                    wire.send(&bytes).await;
                }
            }
            Act::Read(most) => self.read((*most).into()).await,
            Act::Wait(wait) => wait.pass().await,
            Act::Lose => {
                if let Some(stream) = self.stream.take() {
                    stream.lose();
                }
            }
            Act::HangUp => self.wire = None,
            Act::Leave => drop(self.calling.session.leave(&self.calling.on)),
        }
    }

    async fn read(&mut self, most: usize) {
        let Some(wire) = &mut self.wire else { return };
        let last = &mut self.last;
        wire.read(most, |frame| match frame {
            Frame::Request(request) => {
                assert!(request.id > *last, "ids rise");
                *last = request.id;
            }
            Frame::Cancel { id } => assert!(*id <= *last, "what is cancelled was called"),
            Frame::Body { .. } | Frame::Hello(_) | Frame::GoAway { .. } => {}
            Frame::Unknown { kind, .. } => panic!("there is no kind {kind}"),
            Frame::Item(_) | Frame::End(_) => panic!("nothing is streamed on a call stream"),
            Frame::Response(_) | Frame::Error(_) => panic!("who calls doesn't answer: {frame:?}"),
        })
        .await;
    }
}

async fn play(acts: &[Act]) {
    let mut scene = Scene { calling: Calling::new(limits()), calls: Vec::new(), stream: None, wire: None, last: 0 };
    for act in acts {
        scene.act(act).await;
        let (calls, bytes) = scene.calling.session.config().in_use();
        assert!(calls <= scene.calls.len() + 1 && bytes <= 512 * 1024, "{calls} calls, {bytes} bytes");
    }
    // All deadlines pass.
    tokio::time::sleep(LONG).await;
    settle().await;
    scene.read(usize::MAX).await;
    for call in &scene.calls {
        let _ = timeout(Duration::from_millis(1), call.result()).await.expect("no call is without an outcome");
    }
    assert_eq!(scene.calling.session.config().in_use(), (0, 0));
}

#[test]
fn whatever_a_peer_answers_each_call_has_an_outcome_and_leaves_nothing() {
    fuzz!().with_type::<Vec<Act>>().with_max_len(2048).for_each(|acts: &Vec<Act>| {
        let begins = [
            Act::Call { len: 10, seconds: 60, again: false },
            Act::Open { narrow: false },
            Act::Read(1000),
            Act::Word(Word::Hello { one_call: false, calls: 8, message: 1 << 20, bytes: 1 << 20 }),
        ];
        with_paused_clock(|| play(acts));
        with_paused_clock(|| async { play(&[&begins[..], acts].concat()).await });
    });
}
