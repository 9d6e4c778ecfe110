//! A server that answers anything.

use bolero::TypeGenerator;

use super::*;
use crate::fuzzing::with_paused_clock;
use crate::wire::{self, MetadataRef};

#[derive(Clone, Debug, TypeGenerator)]
enum Said {
    Hello,
    Item {
        id: u8,
        bytes: u8,
        over: u16,
    },
    Value {
        bytes: Vec<u8>,
    },
    Body {
        id: u8,
        bytes: u16,
    },
    End {
        id: u8,
        items: u8,
    },
    /// With as many as were said.
    TrueEnd,
    Response {
        id: u8,
        bytes: Vec<u8>,
    },
    Error {
        id: u8,
        code: u8,
        delivery: u8,
        bytes: Vec<u8>,
    },
    Unknown {
        kind: u8,
    },
    Bytes(Vec<u8>),
}

fn session(said: &[Said]) -> Vec<u8> {
    let (mut out, mut items) = (Vec::new(), 0);
    let id = |id: &u8| if *id < 200 { 1 } else { u64::from(*id) - 199 };
    for word in said {
        let _ = match word {
            Said::Hello => wire::encode_hello(&mut out, &wire::Hello::default()),
            Said::Item { id: of, bytes, over } => {
                items += 1;
                let chunk = vec![1; usize::from(*bytes)];
                let body_len = chunk.len() as u64 + u64::from(*over);
                wire::encode_item(&mut out, &wire::Item { id: id(of), body_len, chunk: &chunk })
            }
            Said::Value { bytes } => {
                items += 1;
                let mut value = Vec::new();
                crate::codec::encode(CodecId::default(), bytes, &mut value, 1 << 20).unwrap();
                wire::encode_items(&mut out, 1, &value);
                Ok(())
            }
            Said::Body { id: of, bytes } => wire::encode_body(&mut out, id(of), &vec![1; usize::from(*bytes)]),
            Said::End { id: of, items } => {
                let (items, metadata) = (u64::from(*items), MetadataRef::EMPTY);
                wire::encode_end(&mut out, &wire::End { id: id(of), items, metadata })
            }
            Said::TrueEnd => wire::encode_end(&mut out, &wire::End { id: 1, items, metadata: MetadataRef::EMPTY }),
            Said::Response { id: of, bytes } => {
                let (metadata, body_len) = (MetadataRef::EMPTY, bytes.len() as u64);
                wire::encode_response(&mut out, &wire::Reply { id: id(of), metadata, body_len, chunk: bytes })
            }
            Said::Error { id: of, code, delivery, bytes } => {
                let delivery = match delivery % 3 {
                    0 => wire::Delivery::NeverSent,
                    1 => wire::Delivery::Answered,
                    _ => wire::Delivery::MayHaveRun,
                };
                let (metadata, body_len) = (MetadataRef::EMPTY, bytes.len() as u64);
                let (id, code) = (id(of), u64::from(*code % 16).into());
                let error = wire::ErrorReply { id, code, delivery, message: "", metadata, body_len, chunk: bytes };
                wire::encode_error(&mut out, &error)
            }
            Said::Unknown { kind } => wire::encode(&mut out, &wire::Frame::Unknown { kind: *kind, fields: &[] }),
            Said::Bytes(bytes) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
        };
    }
    out
}

async fn play(said: &[Said], cut: Cut) {
    let (found, _) = replayed(&session(said), cut);
    let mut call = items_call(found, &[]);
    let (mut come, mut failed) = (0_u64, false);
    while let Some(item) = call.next().await {
        assert!(!failed, "an error comes once, and nothing after it");
        failed = item.is_err();
        come += u64::from(item.is_ok());
    }
    let ends = |word: &Said| matches!(word, Said::TrueEnd | Said::End { .. } | Said::Bytes(_));
    assert!(failed || said.iter().any(ends), "{come} items without an end were taken for all");
    assert!(call.next().await.is_none());
}

#[test]
fn whatever_a_peer_answers_a_stream_ends_once() {
    fuzz!().with_type::<(bool, Vec<Said>, u8)>().with_max_len(2048).for_each(|(greets, said, cut)| {
        let said: Vec<Said> = greets.then_some(Said::Hello).into_iter().chain(said.iter().cloned()).collect();
        with_paused_clock(|| play(&said, CUTS[usize::from(*cut) % CUTS.len()]));
    });
}
