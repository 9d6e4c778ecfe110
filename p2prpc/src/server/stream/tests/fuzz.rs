//! A caller that says anything at any time.

use bolero::TypeGenerator;

use super::*;
use crate::fuzzing::with_paused_clock;

#[derive(Clone, Debug, TypeGenerator)]
enum Act {
    Hello {
        message: u32,
    },
    Request {
        step: u8,
        method: u8,
        left_millis: Option<u32>,
        codec: u8,
        args: Vec<u8>,
        over: u8,
    },
    Item {
        back: u8,
        len: u16,
        over: u32,
    },
    Body {
        back: u8,
        len: u16,
    },
    End {
        back: u8,
        items: u8,
    },
    /// With as many as were said.
    TrueEnd,
    Cancel {
        back: u8,
    },
    Unknown {
        kind: u8,
    },
    Bytes(Vec<u8>),
    Read(u16),
    Wait(u16),
}

const METHODS: [&str; 8] = [
    "Meant.Items",
    "Meant.Take",
    "Meant.Leave",
    "Meant.Echo",
    "Meant.Fail",
    "Meant.Panic",
    "Meant.Unary",
    "Meant.Nothing",
];

async fn play(acts: &[Act]) {
    let limits = Limits { max_message: 128 * 1024, ..Limits::default() };
    let mut caller = caller_of(limits);
    let (mut last, mut items) = (0_u64, 0);
    for act in acts {
        let id = |back: &u8| last.saturating_sub((*back).into()).max(1);
        let mut out = Vec::new();
        let _ = match act {
            Act::Hello { message } => {
                let max_message = wire::MIN_LIMIT_BYTES + u64::from(*message);
                wire::encode_hello(
                    &mut out,
                    &wire::Hello { role: Role::OneCall, max_message, ..wire::Hello::default() },
                )
            }
            Act::Request { step, method, left_millis, codec, args, over } => {
                last += u64::from(*step % 3);
                items = 0;
                let request = wire::Request {
                    id: last.max(1),
                    method: METHODS[usize::from(*method) % METHODS.len()],
                    codec: u64::from(*codec % 3),
                    deadline: left_millis.map(|left| Duration::from_millis(left.into())),
                    metadata: MetadataRef::EMPTY,
                    body_len: args.len() as u64 + u64::from(*over % 4),
                    chunk: args,
                };
                wire::encode_request(&mut out, &request)
            }
            Act::Item { back, len, over } => {
                items += u64::from(*back == 0);
                let chunk = vec![0; usize::from(*len)];
                let body_len = chunk.len() as u64 + u64::from(*over % 150_000);
                wire::encode_item(&mut out, &wire::Item { id: id(back), body_len, chunk: &chunk })
            }
            Act::Body { back, len } => wire::encode_body(&mut out, id(back), &vec![0; usize::from(*len)]),
            Act::End { back, items } => {
                let (items, metadata) = (u64::from(*items), MetadataRef::EMPTY);
                wire::encode_end(&mut out, &wire::End { id: id(back), items, metadata })
            }
            Act::TrueEnd => {
                wire::encode_end(&mut out, &wire::End { id: last.max(1), items, metadata: MetadataRef::EMPTY })
            }
            Act::Cancel { back } => wire::encode_cancel(&mut out, id(back)),
            Act::Unknown { kind } => wire::encode(&mut out, &Frame::Unknown { kind: *kind, fields: &[] }),
            Act::Bytes(bytes) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Act::Read(most) => {
                let mut came = vec![0; usize::from(*most)];
                if let Ok(Ok(n)) = timeout(Duration::from_millis(1), caller.io.read(&mut came)).await {
                    caller.came.extend_from_slice(&came[..n]);
                }
                Ok(())
            }
            Act::Wait(millis) => {
                tokio::time::sleep(Duration::from_millis((*millis).into())).await;
                Ok(())
            }
        };
        // A server that doesn't read isn't waited for.
        let _ = timeout(Duration::from_millis(1), caller.io.write_all(&out)).await;
        let (calls, bytes, _) = caller.account.in_use();
        assert!(calls <= 1 && bytes <= 1 << 20, "{calls} calls, {bytes} bytes");
    }
    let _ = caller.io.shutdown().await;
    let _ = caller.read_to_end().await;
}

/// A handler of the service panics on purpose, which is caught.
#[test]
fn whatever_a_caller_streams_it_is_answered_in_frames_and_leaves_nothing() {
    fuzz!().with_type::<(bool, Vec<Act>)>().with_max_len(2048).for_each(|(greets, acts)| {
        let hello = greets.then_some(Act::Hello { message: 1 << 20 });
        let acts: Vec<Act> = hello.into_iter().chain(acts.iter().cloned()).collect();
        with_paused_clock(|| play(&acts));
    });
}
