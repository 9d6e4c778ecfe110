//! A peer that calls.

use super::*;
use crate::accounts::COMING_OVERHEAD;
use crate::fuzzing::with_paused_clock;
use crate::limits::Limits;
use crate::peer::tests::Served;
use crate::peer::tests::service::encoded;
use crate::wire::{MetadataBuf, Request};

#[derive(Clone, Debug, TypeGenerator)]
enum Act {
    Request {
        step: u8,
        method: Method,
        codec: u8,
        left_millis: Option<u32>,
        key: Option<String>,
        len: u32,
        sent: u16,
    },
    Word(Word),
    /// The rest of the last request's body.
    Rest,
    Read(u16),
    Wait(Wait),
    /// The node wants no more calls.
    GoAway,
    /// The connection ends.
    Lose,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Method {
    Echo,
    Wait,
    Big,
    Later,
    Fail,
    Panic,
    Unknown,
}

#[derive(Default)]
struct Caller {
    last: u64,
    /// What is to come of the last request's body.
    rest: Vec<u8>,
    /// It has sent bytes that may be anything.
    wild: bool,
    highest: u64,
}

impl Caller {
    fn request(&mut self, act: &Act) -> Vec<u8> {
        let Act::Request { step, method, codec, left_millis, key, len, sent } = act else { return Vec::new() };
        self.last = (self.last + u64::from(*step)).max(1);
        self.highest = self.highest.max(self.last);
        let len = *len as usize % 200_000;
        let body = match method {
            Method::Big | Method::Later => encoded(&(len as u32)),
            _ => encoded(&"x".repeat(len)),
        };
        let (chunk, rest) = body.split_at(usize::from(*sent).min(body.len()));
        self.rest = rest.to_vec();
        let mut metadata = MetadataBuf::default();
        if let Some(key) = key {
            let _ = metadata.push(key, "value");
        }
        let mut out = Vec::new();
        let request = Request {
            id: self.last,
            method: &format!("Probe.{method:?}"),
            codec: (*codec % 6).into(),
            deadline: left_millis.map(|millis| Duration::from_millis(millis.into())),
            metadata: metadata.view(),
            body_len: body.len() as u64,
            chunk,
        };
        wire::encode_request(&mut out, &request).unwrap();
        out
    }

    fn rest(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for chunk in std::mem::take(&mut self.rest).chunks(wire::MAX_CHUNK) {
            wire::encode_body(&mut out, self.last, chunk).unwrap();
        }
        out
    }
}

fn limits() -> Limits {
    Limits {
        max_message: 128 * 1024,
        max_calls_per_peer: 8,
        max_bytes_per_peer: 256 * 1024,
        max_deadline: Duration::from_secs(3600),
        ..Limits::default()
    }
}

async fn play(acts: &[Act], pipe: usize) {
    let mut served = Served::with_pipe(limits(), pipe);
    let (near, _) = tokio::io::duplex(1);
    let mut wire = Wire::new(served.peer.replace_io(near));
    let mut caller = Caller::default();
    for act in acts {
        match act {
            Act::Request { .. } => {
                let bytes = caller.request(act);
                wire.send(&bytes).await;
            }
            Act::Word(word) => {
                caller.wild |= matches!(word, Word::Bytes(_) | Word::Begun { .. });
                wire.send(&word.bytes(caller.last)).await;
            }
            Act::Rest => {
                let bytes = caller.rest();
                wire.send(&bytes).await;
            }
            Act::Read(most) => wire.read((*most).into(), |frame| is_an_answer(frame, &caller)).await,
            Act::Wait(wait) => wait.pass().await,
            Act::GoAway => served.stream.go_away(GoAwayReason::ShuttingDown),
            Act::Lose => served.stream.lose(),
        }
        let (calls, bytes, replies) = served.account.in_use();
        let most = 256 * 1024 + 8 * COMING_OVERHEAD;
        assert!(calls <= 8 && bytes <= most && replies <= 2 << 20, "{calls} calls, {bytes} and {replies} bytes");
    }
    // All deadlines pass, with a caller that reads.
    tokio::time::sleep(LONG).await;
    settle().await;
    wire.read(usize::MAX, |frame| is_an_answer(frame, &caller)).await;
    settle().await;
    assert_eq!(served.probe.alive(), 0, "no handler outlives its deadline");
    drop(wire);
    settle().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(served.stream.is_closed());
    assert_eq!(served.account.in_use(), (0, 0, 0));
}

fn is_an_answer(frame: &Frame<'_>, caller: &Caller) {
    match frame {
        Frame::Hello(_) | Frame::GoAway { .. } | Frame::Body { .. } => {}
        Frame::Response(wire::Reply { id, .. }) | Frame::Error(wire::ErrorReply { id, .. }) => {
            assert!(caller.wild || *id <= caller.highest, "an answer to a call that was never made");
        }
        Frame::Request(_) | Frame::Cancel { .. } => panic!("who answers doesn't call: {frame:?}"),
        Frame::Item(_) | Frame::End(_) => panic!("nothing is streamed on a call stream"),
        Frame::Unknown { kind, .. } => panic!("there is no kind {kind}"),
    }
}

#[test]
fn whatever_a_caller_does_it_is_answered_within_its_limits_and_leaves_nothing() {
    fuzz!().with_type::<(bool, Vec<Act>, bool)>().with_max_len(2048).for_each(|(greets, acts, narrow)| {
        let hello = Word::Hello { one_call: false, calls: 8, message: 1 << 20, bytes: 1 << 20 };
        let hello = greets.then_some(Act::Word(hello));
        let acts: Vec<Act> = hello.into_iter().chain(acts.iter().cloned()).collect();
        with_paused_clock(|| play(&acts, if *narrow { 300 } else { 64 * 1024 }));
    });
}
