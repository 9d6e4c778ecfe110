//! The limits of the wire, from the side of the sender, and what the types of the wire promise.

use std::time::Duration;

use p2prpc::wire::{
    self, Delivery, ErrorCode, ErrorReply, FIRST_IGNORED_KIND, Frame, GoAwayReason, Hello, Kind, MAX_CHUNK, MAX_CODECS,
    MAX_FEATURES, MAX_FRAME, MAX_HEADER, MAX_HELLO, MAX_MESSAGE_TEXT, MAX_METADATA_BYTES, MAX_METADATA_PAIRS,
    MAX_METHOD, MetadataBuf, MetadataRef, Reply, Request, Role, WireError, check_method,
};

const REQUEST: Request<'static> = Request {
    id: 1,
    method: "EchoService.Echo",
    codec: 1,
    deadline: Some(Duration::from_secs(10)),
    metadata: MetadataRef::EMPTY,
    body_len: 2,
    chunk: b"hi",
};

const REPLY: Reply<'static> = Reply { id: 1, metadata: MetadataRef::EMPTY, body_len: 2, chunk: b"hi" };

const ERROR: ErrorReply<'static> = ErrorReply {
    id: 1,
    code: ErrorCode::Application,
    delivery: Delivery::Answered,
    message: "no",
    metadata: MetadataRef::EMPTY,
    body_len: 2,
    chunk: b"hi",
};

/// The error of encoding `frame`, which must leave the buffer as it was.
fn refused(frame: Frame<'_>) -> WireError {
    let mut out = b"before".to_vec();
    let error = wire::encode(&mut out, &frame).expect_err("is against the rules");
    assert_eq!(out, b"before");
    error
}

fn encoded(frame: Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    wire::encode(&mut out, &frame).unwrap();
    assert_eq!(wire::decode(&out), Ok(Some((frame, out.len()))));
    out
}

#[test]
fn the_sender_refuses_call_id_0() {
    assert_eq!(refused(Frame::Request(Request { id: 0, ..REQUEST })), WireError::CallIdZero);
    assert_eq!(refused(Frame::Response(Reply { id: 0, ..REPLY })), WireError::CallIdZero);
    assert_eq!(refused(Frame::Error(ErrorReply { id: 0, ..ERROR })), WireError::CallIdZero);
    assert_eq!(refused(Frame::Body { id: 0, chunk: b"x" }), WireError::CallIdZero);
    assert_eq!(refused(Frame::Cancel { id: 0 }), WireError::CallIdZero);
}

#[test]
fn the_sender_refuses_a_chunk_past_the_body() {
    assert_eq!(refused(Frame::Request(Request { body_len: 1, ..REQUEST })), WireError::ChunkPastBody);
    assert_eq!(refused(Frame::Response(Reply { body_len: 1, ..REPLY })), WireError::ChunkPastBody);
    assert_eq!(refused(Frame::Error(ErrorReply { body_len: 1, ..ERROR })), WireError::ChunkPastBody);
}

#[test]
fn the_sender_refuses_a_chunk_over_64_kib_or_empty() {
    let chunk = &[7; MAX_CHUNK + 1][..];
    let body_len = u64::MAX;
    assert_eq!(refused(Frame::Request(Request { body_len, chunk, ..REQUEST })), WireError::ChunkTooLong);
    assert_eq!(refused(Frame::Response(Reply { body_len, chunk, ..REPLY })), WireError::ChunkTooLong);
    assert_eq!(refused(Frame::Error(ErrorReply { body_len, chunk, ..ERROR })), WireError::ChunkTooLong);
    assert_eq!(refused(Frame::Body { id: 1, chunk }), WireError::ChunkTooLong);
    assert_eq!(refused(Frame::Body { id: 1, chunk: &[] }), WireError::ChunkEmpty);
}

#[test]
fn the_sender_refuses_a_method_the_receiver_would_refuse() {
    let refuse = |method: &str| refused(Frame::Request(Request { method, ..REQUEST }));
    assert_eq!(refuse(""), WireError::MethodLength);
    assert_eq!(refuse(&"m".repeat(MAX_METHOD + 1)), WireError::MethodLength);
    assert_eq!(refuse("Echo Service.Echo"), WireError::MethodNotPrintable);
    assert_eq!(check_method("Echo\u{1b}[2J"), Err(WireError::MethodNotPrintable));
    assert_eq!(check_method(&"é".repeat(MAX_METHOD / 2)), Ok(()));
}

#[test]
fn a_method_name_may_have_every_character_that_the_specification_allows() {
    let point = |text: &str| u32::from_str_radix(text.strip_prefix("U+").unwrap(), 16).unwrap();
    let refused: Vec<_> = include_str!("../../docs/wire.md")
        .lines()
        .filter(|line| line.starts_with("| U+"))
        .flat_map(|line| line.split('|').nth(1).unwrap().split(", "))
        .map(|range| match range.trim().split_once(" to ") {
            Some((first, last)) => point(first)..=point(last),
            None => point(range.trim())..=point(range.trim()),
        })
        .collect();
    assert!(refused.len() > 10);
    for c in '\0'..=char::MAX {
        let allowed = !refused.iter().any(|range| range.contains(&c.into()));
        assert_eq!(check_method(c.encode_utf8(&mut [0; 4])).is_ok(), allowed, "{c:?}");
    }
}

#[test]
fn the_sender_refuses_an_error_that_contradicts_itself() {
    let refuse = |code, delivery| refused(Frame::Error(ErrorReply { code, delivery, ..ERROR }));
    assert_eq!(refuse(ErrorCode::Application, Delivery::NeverSent), WireError::ApplicationNotAnswered);
    assert_eq!(refuse(ErrorCode::Application, Delivery::MayHaveRun), WireError::ApplicationNotAnswered);
    assert_eq!(refuse(ErrorCode::Panicked, Delivery::Answered), WireError::UnexpectedErrorBody);
    assert_eq!(refuse(ErrorCode::from(99), Delivery::Answered), WireError::UnexpectedErrorBody);
}

#[test]
fn the_sender_refuses_a_hello_the_receiver_would_refuse() {
    let refuse = |hello: Hello| refused(Frame::Hello(hello));
    let hello = Hello::default();
    assert_eq!(refuse(Hello { max_calls: 0, ..hello.clone() }), WireError::HelloNoCalls);
    assert_eq!(refuse(Hello { max_message: 65535, ..hello.clone() }), WireError::HelloLimitTooSmall(65535));
    assert_eq!(refuse(Hello { max_bytes_in_flight: 0, ..hello.clone() }), WireError::HelloLimitTooSmall(0));
    let codecs = (0..=MAX_CODECS as u64).collect();
    assert_eq!(refuse(Hello { codecs, ..hello.clone() }), WireError::HelloTooManyCodecs);
    assert_eq!(refuse(Hello { codecs: vec![3, 3], ..hello.clone() }), WireError::HelloDuplicateCodec(3));
    let features = (0..=MAX_FEATURES as u64).collect();
    assert_eq!(refuse(Hello { features, ..hello.clone() }), WireError::HelloTooManyFeatures);
    assert_eq!(refuse(Hello { features: vec![0, 7, 0], ..hello }), WireError::HelloDuplicateFeature(0));
}

#[test]
fn a_hello_of_exactly_4_kib_is_read() {
    let filler = MAX_HELLO - 3;
    let mut entries = vec![99];
    entries.extend([(filler & 0x7f) as u8 | 0x80, (filler >> 7) as u8]);
    entries.resize(MAX_HELLO, 0);
    assert_eq!(Hello::decode(&entries), Ok(Hello::default()));
    entries.push(0);
    assert_eq!(Hello::decode(&entries), Err(WireError::HelloTooLong));
}

#[test]
fn a_hello_says_all_it_holds() {
    let hello = Hello {
        role: Role::OneCall,
        max_calls: 7,
        max_message: u64::MAX,
        max_bytes_in_flight: 65536,
        codecs: vec![u64::MAX, 0, 300],
        features: vec![1, u64::MAX],
    };
    let bytes = encoded(Frame::Hello(hello.clone()));
    let mut entries = Vec::new();
    hello.encode(&mut entries).unwrap();
    assert_eq!(bytes[2..], entries);
}

#[test]
fn long_messages_are_cut_between_characters() {
    let message = "é".repeat(MAX_MESSAGE_TEXT) + "!";
    let odd = format!("x{message}");
    for (message, kept) in [(message.as_str(), 256), (odd.as_str(), 255)] {
        let mut out = Vec::new();
        let error = ErrorReply { message, ..ERROR };
        wire::encode_error(&mut out, &error).unwrap();
        assert_eq!(out.len(), error.head_len() + error.chunk.len());
        let Ok(Some((Frame::Error(error), _))) = wire::decode(&out) else { panic!("an error frame") };
        assert_eq!(error.message, &message[..kept]);

        out.clear();
        wire::encode_go_away(&mut out, 3, GoAwayReason::ShuttingDown, message);
        let Ok(Some((Frame::GoAway { message: sent, .. }, _))) = wire::decode(&out) else { panic!("a go-away") };
        assert_eq!(sent, &message[..kept]);
    }
}

#[test]
fn head_len_is_what_the_frame_takes_beside_its_chunk() {
    let metadata = MetadataBuf::from_pairs([("trace-id", "4bf92f35"), ("empty", "")]).unwrap();
    for len in [0, 1, 100, 127, 128, 16_000, 16_383, 16_384, MAX_CHUNK] {
        let (chunk, body_len) = (&vec![1; len][..], len as u64);
        let request = Request { chunk, body_len, metadata: metadata.view(), ..REQUEST };
        let reply = Reply { id: u64::MAX, metadata: metadata.view(), chunk, body_len };
        let error = ErrorReply { chunk, body_len, metadata: metadata.view(), ..ERROR };
        assert_eq!(encoded(Frame::Request(request)).len(), request.head_len() + len);
        assert_eq!(encoded(Frame::Response(reply)).len(), reply.head_len() + len);
        assert_eq!(encoded(Frame::Error(error)).len(), error.head_len() + len);
    }
}

#[test]
fn the_largest_request_is_within_the_largest_frame() {
    let mut metadata = MetadataBuf::default();
    for pair in 0..MAX_METADATA_PAIRS {
        metadata.push(&format!("{pair:064}"), &"v".repeat(64)).unwrap();
    }
    let request = Request {
        id: u64::MAX,
        method: &"m".repeat(MAX_METHOD),
        codec: u64::MAX,
        deadline: Some(Duration::MAX),
        metadata: metadata.view(),
        body_len: u64::MAX,
        chunk: &[0; MAX_CHUNK],
    };
    let mut out = Vec::new();
    wire::encode_request(&mut out, &request).unwrap();
    assert!(out.len() <= MAX_FRAME && request.head_len() <= MAX_HEADER);
    let Ok(Some((Frame::Request(read), _))) = wire::decode(&out) else { panic!("a request") };
    let longest = Duration::from_micros(u64::MAX - 1);
    assert_eq!(read, Request { deadline: Some(longest), ..request });
}

#[test]
fn deadlines_are_whole_microseconds_and_none_is_not_zero() {
    for (deadline, kept) in [
        (None, None),
        (Some(Duration::ZERO), Some(Duration::ZERO)),
        (Some(Duration::from_nanos(1999)), Some(Duration::from_micros(1))),
        (Some(Duration::from_secs(10)), Some(Duration::from_secs(10))),
    ] {
        let mut out = Vec::new();
        wire::encode_request(&mut out, &Request { deadline, ..REQUEST }).unwrap();
        let Ok(Some((Frame::Request(read), _))) = wire::decode(&out) else { panic!("a request") };
        assert_eq!(read.deadline, kept);
    }
}

#[test]
fn metadata_keeps_its_order_and_its_limits() {
    let mut metadata = MetadataBuf::default();
    assert!(metadata.view().is_empty());
    metadata.push("b", "2").unwrap();
    metadata.push("a", "").unwrap();
    assert_eq!(metadata.push("b", "3"), Err(WireError::MetadataDuplicate));
    assert_eq!(metadata.push("B", ""), Err(WireError::MetadataKey));
    assert_eq!(metadata.push("", ""), Err(WireError::MetadataKey));
    assert_eq!(metadata.push(&"k".repeat(65), ""), Err(WireError::MetadataKey));
    assert_eq!(metadata.push("c", &"v".repeat(MAX_METADATA_BYTES - 3)), Err(WireError::MetadataTooLong));
    assert_eq!(metadata.view().iter().collect::<Vec<_>>(), [("b", "2"), ("a", "")]);
    assert_eq!((metadata.view().get("b"), metadata.view().get("c")), (Some("2"), None));
    metadata.push("c", &"v".repeat(MAX_METADATA_BYTES - 4)).unwrap();
    assert_eq!(metadata.push("d", ""), Err(WireError::MetadataTooLong));

    let read = encoded(Frame::Request(Request { metadata: metadata.view(), ..REQUEST }));
    let Ok(Some((Frame::Request(request), _))) = wire::decode(&read) else { panic!("a request") };
    assert_eq!(MetadataBuf::from_pairs(request.metadata), Ok(metadata));

    let keys: Vec<String> = (0..=MAX_METADATA_PAIRS).map(|n| n.to_string()).collect();
    let pairs = || keys.iter().map(|key| (key.as_str(), ""));
    assert!(MetadataBuf::from_pairs(pairs().take(MAX_METADATA_PAIRS)).is_ok());
    assert_eq!(MetadataBuf::from_pairs(pairs()), Err(WireError::MetadataTooManyPairs));
}

#[test]
fn debug_shows_no_metadata_values() {
    let metadata = MetadataBuf::from_pairs([("token", "secret")]).unwrap();
    let shown = format!("{metadata:?} {:?}", Request { metadata: metadata.view(), ..REQUEST });
    assert!(shown.contains("token") && !shown.contains("secret"), "{shown}");
}

#[test]
fn the_length_of_a_frame_is_known_from_its_first_bytes() {
    let frame = encoded(Frame::Request(REQUEST));
    assert_eq!(wire::frame_len(&[]), Ok(None));
    assert_eq!(wire::frame_len(&[0x80]), Ok(None));
    assert_eq!(wire::frame_len(&frame[..1]), Ok(Some(frame.len())));
    assert_eq!(wire::frame_len(&[0x80, 0x80, 0x05]), Ok(Some(3 + MAX_FRAME)));
    assert_eq!(wire::frame_len(&[0x81, 0x80, 0x05]), Err(WireError::FrameTooLong));
    assert_eq!(wire::frame_len(&[0]), Err(WireError::FrameEmpty));
}

#[test]
fn every_frame_knows_its_kind() {
    let frames = [
        (Frame::Hello(Hello::default()), Kind::Hello),
        (Frame::Request(REQUEST), Kind::Request),
        (Frame::Response(REPLY), Kind::Response),
        (Frame::Error(ERROR), Kind::Error),
        (Frame::Body { id: 1, chunk: b"x" }, Kind::Body),
        (Frame::Cancel { id: 1 }, Kind::Cancel),
        (Frame::GoAway { last_call_id: 1, reason: GoAwayReason::Idle, message: "" }, Kind::GoAway),
    ];
    for (frame, kind) in frames {
        assert_eq!(frame.kind(), kind as u8);
        assert_eq!(encoded(frame)[1], kind as u8);
    }
}

#[test]
fn frames_of_later_versions_are_whole_before_they_are_ignored() {
    for kind in FIRST_IGNORED_KIND..=u8::MAX {
        let frame = Frame::Unknown { kind, fields: &[7; MAX_FRAME - 1] };
        assert_eq!(frame.kind(), kind);
        let bytes = encoded(frame);
        assert_eq!(bytes.len(), 3 + MAX_FRAME);
        assert_eq!(wire::decode(&bytes[..bytes.len() - 1]), Ok(None));
    }
    for kind in 0..FIRST_IGNORED_KIND {
        assert_eq!(refused(Frame::Unknown { kind, fields: b"x" }), WireError::UnknownKind(kind));
    }
    let fields = &[7; MAX_FRAME];
    assert_eq!(refused(Frame::Unknown { kind: FIRST_IGNORED_KIND, fields }), WireError::FrameTooLong);
}
