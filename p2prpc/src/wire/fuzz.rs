//! Frames from any bytes, and any frames to bytes and back.

use std::time::Duration;

use bolero::TypeGenerator;

use super::*;

/// All frames that bytes begin with, until one isn't whole or breaks a rule.
fn frames(bytes: &[u8], mut each: impl FnMut(Frame<'_>, &[u8])) {
    let mut rest = bytes;
    while let Ok(Some((frame, len))) = decode(rest) {
        assert_eq!(frame_len(rest), Ok(Some(len)));
        let (taken, behind) = rest.split_at(len);
        each(frame, taken);
        rest = behind;
    }
}

#[test]
fn bytes_are_one_frame_in_one_form() {
    fuzz!().for_each(|bytes: &[u8]| {
        frames(bytes, |frame, taken| {
            let mut again = Vec::new();
            encode(&mut again, &frame).expect("what can be read can be written");
            match frame {
                // It may have entries that aren't known here.
                Frame::Hello(_) => assert_eq!(decode(&again), Ok(Some((frame, again.len())))),
                _ => assert_eq!(again, taken),
            }
        });
    });
}

#[test]
fn a_frame_that_is_cut_is_no_frame() {
    fuzz!().for_each(|bytes: &[u8]| {
        frames(bytes, |frame, taken| {
            for cut in 0..taken.len() {
                let begun = &taken[..cut];
                assert_eq!(decode(begun), Ok(None), "at {cut} of {}", taken.len());
                let Some((id, at, whole)) = begun_body(begun).expect("the frame keeps the rules") else { continue };
                let Frame::Body { id: of, chunk } = &frame else { panic!("{frame:?} is no body") };
                assert_eq!((id, at + whole, whole), (*of, taken.len(), chunk.len()));
            }
        });
    });
}

/// Whatever is wrong is seen at the same place however the bytes come.
#[test]
fn what_breaks_a_rule_breaks_it_whatever_comes_next() {
    fuzz!().for_each(|bytes: &[u8]| {
        let Err(error) = decode(bytes) else { return };
        let longer = [bytes, &[0; 8]].concat();
        assert_eq!(decode(&longer), Err(error));
    });
}

#[derive(Clone, Debug, TypeGenerator)]
enum Any {
    Hello {
        one_call: bool,
        calls: u64,
        message: u64,
        bytes: u64,
        codecs: Vec<u64>,
        features: Vec<u64>,
    },
    Request {
        id: u64,
        method: String,
        codec: u64,
        left: Option<u64>,
        pairs: Vec<(String, String)>,
        over: u64,
        chunk: Vec<u8>,
    },
    Response {
        id: u64,
        pairs: Vec<(String, String)>,
        over: u64,
        chunk: Vec<u8>,
    },
    Error {
        id: u64,
        code: u64,
        delivery: u8,
        message: String,
        pairs: Vec<(String, String)>,
        over: u64,
        chunk: Vec<u8>,
    },
    Body {
        id: u64,
        chunk: Vec<u8>,
    },
    Cancel {
        id: u64,
    },
    GoAway {
        last: u64,
        reason: u64,
        message: String,
    },
    Unknown {
        kind: u8,
        fields: Vec<u8>,
    },
    Item {
        id: u64,
        over: u64,
        chunk: Vec<u8>,
    },
    End {
        id: u64,
        items: u64,
        pairs: Vec<(String, String)>,
    },
}

fn metadata(pairs: &[(String, String)]) -> MetadataBuf {
    let mut metadata = MetadataBuf::default();
    for (key, value) in pairs {
        let before = metadata.clone();
        if metadata.push(key, value).is_err() {
            assert_eq!(metadata, before, "nothing is changed by what is refused");
        }
    }
    metadata
}

impl Any {
    fn with(&self, then: impl FnOnce(Frame<'_>)) {
        let len = |chunk: &[u8], over: u64| (chunk.len() as u64).saturating_add(over);
        match self {
            Any::Hello { one_call, calls, message, bytes, codecs, features } => then(Frame::Hello(Hello {
                role: if *one_call { Role::OneCall } else { Role::Calls },
                max_calls: *calls,
                max_message: *message,
                max_bytes_in_flight: *bytes,
                codecs: codecs.clone(),
                features: features.clone(),
            })),
            Any::Request { id, method, codec, left, pairs, over, chunk } => {
                let metadata = metadata(pairs);
                then(Frame::Request(Request {
                    id: *id,
                    method,
                    codec: *codec,
                    // The last microsecond of all can't be told from one more.
                    deadline: left.map(|left| Duration::from_micros(left.min(u64::MAX - 1))),
                    metadata: metadata.view(),
                    body_len: len(chunk, *over),
                    chunk,
                }));
            }
            Any::Response { id, pairs, over, chunk } => {
                let (metadata, body_len) = (metadata(pairs), len(chunk, *over));
                then(Frame::Response(Reply { id: *id, metadata: metadata.view(), body_len, chunk }));
            }
            Any::Error { id, code, delivery, message, pairs, over, chunk } => {
                let metadata = metadata(pairs);
                then(Frame::Error(ErrorReply {
                    id: *id,
                    code: (*code).into(),
                    delivery: Delivery::from_number((*delivery % 3).into()).expect("there are three"),
                    message,
                    metadata: metadata.view(),
                    body_len: len(chunk, *over),
                    chunk,
                }));
            }
            Any::Item { id, over, chunk } => {
                then(Frame::Item(Item { id: *id, body_len: len(chunk, *over), chunk }));
            }
            Any::End { id, items, pairs } => {
                let metadata = metadata(pairs);
                then(Frame::End(End { id: *id, items: *items, metadata: metadata.view() }));
            }
            Any::Unknown { kind, fields } => then(Frame::Unknown { kind: *kind, fields }),
            Any::Body { id, chunk } => then(Frame::Body { id: *id, chunk }),
            Any::Cancel { id } => then(Frame::Cancel { id: *id }),
            Any::GoAway { last, reason, message } => {
                then(Frame::GoAway { last_call_id: *last, reason: (*reason).into(), message });
            }
        }
    }
}

#[test]
fn what_is_written_is_read() {
    fuzz!().with_type::<Any>().for_each(|any| {
        any.with(|frame| {
            let mut bytes = b"before".to_vec();
            if encode(&mut bytes, &frame).is_err() {
                assert_eq!(bytes, b"before", "nothing is written of what is refused");
                return;
            }
            let bytes = &bytes[6..];
            assert!(bytes.len() <= MAX_FRAME + 3);
            let frame = match frame {
                Frame::Error(error) => Frame::Error(ErrorReply { message: cut(error.message), ..error }),
                Frame::GoAway { last_call_id, reason, message } => {
                    Frame::GoAway { last_call_id, reason, message: cut(message) }
                }
                other => other,
            };
            assert_eq!(decode(bytes), Ok(Some((frame, bytes.len()))));
        });
    });
}
