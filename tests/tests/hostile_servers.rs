//! A peer that is called, and answers with anything but an answer. Meanwhile an honest one calls.

use std::time::{Duration, Instant};

use p2prpc::prelude::*;
use p2prpc::wire::{self, ErrorCode, Frame, GoAwayReason, Hello, Reply};
use p2prpc_tests::hostile::{Got, RawStream, Scene, TargetPeer, encoded, hello, varint};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(20);

/// A victim that knows where the hostile peer is.
async fn scene() -> Scene {
    let scene = Scene::start().await;
    scene.victim.knows(&scene.raw).await;
    scene
}

fn stub(scene: &Scene, timeout: Duration) -> TargetPeer {
    scene.victim.client().timeout(timeout).peer(scene.raw.id())
}

fn echo(scene: &Scene) -> JoinHandle<Result<String, RpcError>> {
    tokio::spawn(stub(scene, LONG).echo("x".into()))
}

/// A call under way, and the stream it is on, on which the hostile peer has said hello.
async fn called(scene: &mut Scene) -> (RawStream, JoinHandle<Result<String, RpcError>>) {
    let call = echo(scene);
    let mut stream = scene.raw.accept().await;
    stream.hello().await;
    let request = stream.next().await;
    assert!(matches!(request, Some(Got::Request { id: 1, .. })), "{request:?}");
    (stream, call)
}

async fn error(call: JoinHandle<Result<String, RpcError>>) -> RpcError {
    call.await.expect("a call does not panic").expect_err("the call succeeded")
}

/// The victim calls the hostile peer again, and is answered: on this stream, or on a new one.
async fn goes_on(mut scene: Scene, stream: Option<RawStream>) {
    let mut call = echo(&scene);
    let mut stream = match stream {
        Some(stream) => stream,
        None => loop {
            tokio::select! {
                mut stream = scene.raw.accept() => {
                    stream.hello().await;
                    break stream;
                }
                // It went to the old stream, of whose end the victim had not heard.
                _ = &mut call => call = echo(&scene),
            }
        },
    };
    let id = loop {
        match stream.next().await {
            Some(Got::Request { id, .. }) => break id,
            Some(Got::Cancel { .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    stream.respond(id, &encoded(&"at last")).await;
    assert_eq!(call.await.expect("a call does not panic").expect("it was answered"), "at last");
    drop(stream);
    scene.is_cleared().await;
}

/// These bytes as an answer end the stream and the call, which may have run, and the victim says why.
async fn breaks(bytes: &[u8], rule: &str) {
    let mut scene = scene().await;
    let (mut stream, call) = called(&mut scene).await;
    stream.send_bytes(bytes).await;
    let error = error(call).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun), "{error}");
    assert!(error.to_string().contains(rule), "{error}");
    let farewell = stream.farewell().await;
    assert!(matches!(farewell, Some((GoAwayReason::ProtocolError, _))), "{farewell:?}");
    goes_on(scene, None).await;
}

fn frame(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(&mut bytes, frame).expect("a valid frame");
    bytes
}

#[tokio::test]
async fn random_bytes_end_the_stream() {
    breaks(&[0xe5; 500], "longer than 81920 bytes").await;
}

#[tokio::test]
async fn a_length_of_four_gibibytes_ends_the_stream() {
    breaks(&varint(4 << 30), "longer than 81920 bytes").await;
}

#[tokio::test]
async fn a_reply_for_a_call_never_made_ends_the_stream() {
    breaks(
        &frame(&Frame::Response(Reply { id: 2, metadata: wire::MetadataRef::EMPTY, body_len: 1, chunk: b"x" })),
        "never made",
    )
    .await;
}

#[tokio::test]
async fn a_second_hello_ends_the_stream() {
    breaks(&hello(&Hello::default()), "a second hello").await;
}

#[tokio::test]
async fn a_request_on_the_callers_stream_ends_it() {
    breaks(&frame(&Frame::Cancel { id: 1 }), "from the end that answers").await;
}

#[tokio::test]
async fn a_message_of_a_mebibyte_ends_the_stream() {
    let len = varint(1 << 20);
    let fields = [&[4, 1, 12, 2], &len[..], &[b'x'; 1000]].concat();
    let bytes = [&varint((1 << 20) + 10)[..], &fields].concat();
    breaks(&bytes, "longer than 81920 bytes").await;
}

#[tokio::test]
async fn a_message_above_256_bytes_ends_the_stream() {
    let fields = [&[4, 1, 12, 2][..], &varint(257), &[b'x'; 257], &[0]].concat();
    breaks(&[&varint(fields.len() as u64)[..], &fields].concat(), "longer than 256 bytes").await;
}

#[tokio::test]
async fn a_message_that_commands_a_terminal_is_escaped() {
    let mut scene = scene().await;
    let (mut stream, call) = called(&mut scene).await;
    let evil = format!("\u{1b}]0;owned\u{7}\u{1b}[2J\r\u{202e}\u{2066}{}", "é".repeat(100));
    stream.fail(1, ErrorCode::Internal, &evil).await;
    let error = error(call).await;
    assert_eq!(error.kind(), ErrorKind::Internal);
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{2069}').contains(&c)), "{text:?}");
        assert!(text.contains("owned"), "{text:?}");
    }
    assert!(error.detail().len() <= 256);
    goes_on(scene, Some(stream)).await;
}

#[tokio::test]
async fn an_error_of_the_handlers_own_with_a_mebibyte_of_escapes_is_harmless_and_whole() {
    let mut scene = scene().await;
    let call = tokio::spawn(stub(&scene, LONG).fail("x".into()));
    let mut stream = scene.raw.accept().await;
    stream.hello().await;
    assert!(matches!(stream.next().await, Some(Got::Request { id: 1, .. })));
    let evil = "\u{1b}[2J".repeat(1 << 18);
    let body = encoded(&evil);
    let (code, delivery) = (ErrorCode::Application, wire::Delivery::Answered);
    let head = wire::ErrorReply {
        id: 1,
        code,
        delivery,
        message: "",
        metadata: wire::MetadataRef::EMPTY,
        body_len: body.len() as u64,
        chunk: &[],
    };
    stream.send(Frame::Error(head)).await;
    for chunk in body.chunks(65_536) {
        stream.send(Frame::Body { id: 1, chunk }).await;
    }
    let error = call.await.expect("a call does not panic").expect_err("it failed");
    assert_eq!(error.application(), Some(&evil));
    assert!(!error.to_string().contains('\u{1b}'));
    goes_on(scene, Some(stream)).await;
}

#[tokio::test]
async fn a_reply_of_the_wrong_type_is_a_bad_reply() {
    let mut scene = scene().await;
    let mut stream = None;
    // Not UTF-8, too short, too long, nothing, and the bomb of a string that announces 2^40 bytes.
    let bomb = [&[253][..], &(1_u64 << 40).to_le_bytes()].concat();
    for (n, body) in [&[1, 0xff][..], &[5, b'x'], &[1, b'x', b'y'], &[], &bomb].into_iter().enumerate() {
        let id = n as u64 + 1;
        let call = echo(&scene);
        let mut current = match stream.take() {
            Some(stream) => stream,
            None => {
                let mut stream = scene.raw.accept().await;
                stream.hello().await;
                stream
            }
        };
        assert!(matches!(current.next().await, Some(Got::Request { .. })));
        current.respond(id, body).await;
        let error = error(call).await;
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadReply, Delivery::Answered), "{body:?}: {error}");
        stream = Some(current);
    }
    goes_on(scene, stream).await;
}

#[tokio::test]
async fn an_own_error_from_a_method_that_cannot_fail_is_a_bad_reply() {
    let mut scene = scene().await;
    let (mut stream, call) = called(&mut scene).await;
    let (code, delivery) = (ErrorCode::Application, wire::Delivery::Answered);
    stream
        .send(Frame::Error(wire::ErrorReply {
            id: 1,
            code,
            delivery,
            message: "",
            metadata: wire::MetadataRef::EMPTY,
            body_len: 1,
            chunk: b"x",
        }))
        .await;
    assert_eq!(error(call).await.kind(), ErrorKind::BadReply);
    goes_on(scene, Some(stream)).await;
}

#[tokio::test]
async fn an_unknown_error_is_an_internal_one() {
    let mut scene = scene().await;
    let (mut stream, call) = called(&mut scene).await;
    stream.fail(1, ErrorCode::from(u64::MAX), "").await;
    assert_eq!(error(call).await.kind(), ErrorKind::Internal);
    goes_on(scene, Some(stream)).await;
}

#[tokio::test]
async fn frames_and_metadata_of_later_versions_are_ignored() {
    let mut scene = scene().await;
    let (mut stream, call) = called(&mut scene).await;
    for kind in [16, 255] {
        stream.send(Frame::Unknown { kind, fields: &[7; 1000] }).await;
    }
    let metadata = wire::MetadataBuf::from_pairs([("p2prpc-later", "1")]).unwrap();
    let body = encoded(&"an answer");
    let reply = Reply { id: 1, metadata: metadata.view(), body_len: body.len() as u64, chunk: &body };
    stream.send(Frame::Response(reply)).await;
    assert_eq!(call.await.expect("a call does not panic").expect("it was answered"), "an answer");
    goes_on(scene, Some(stream)).await;
}

#[tokio::test]
async fn a_server_that_sends_nothing_but_frames_of_later_versions_is_left() {
    let mut scene = scene().await;
    let (mut stream, call) = called(&mut scene).await;
    let flood = frame(&Frame::Unknown { kind: 99, fields: &[7] }).repeat(10_001);
    stream.send_bytes(&flood).await;
    let error = error(call).await;
    assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
    goes_on(scene, None).await;
}

#[tokio::test]
async fn the_second_of_two_answers_is_let_go_by() {
    let mut scene = scene().await;
    let (mut stream, call) = called(&mut scene).await;
    stream.respond(1, &encoded(&"first")).await;
    stream.respond(1, &encoded(&"second")).await;
    stream.fail(1, ErrorCode::Panicked, "third").await;
    assert_eq!(call.await.expect("a call does not panic").expect("it was answered"), "first");
    goes_on(scene, Some(stream)).await;
}

#[tokio::test]
async fn endless_chunks_for_dead_calls_harm_nobody() {
    let mut scene = scene().await;
    let (mut stream, call) = called(&mut scene).await;
    call.abort();
    assert_eq!(stream.next().await, Some(Got::Cancel { id: 1 }));
    stream
        .send(Frame::Response(Reply { id: 1, metadata: wire::MetadataRef::EMPTY, body_len: 4 << 20, chunk: &[] }))
        .await;
    let began = Instant::now();
    let chunk = frame(&Frame::Body { id: 1, chunk: &[7; 65_536] });
    while began.elapsed() < Duration::from_millis(500) {
        stream.send_bytes(&chunk).await;
    }
    goes_on(scene, Some(stream)).await;
}

#[tokio::test]
async fn a_server_that_goes_away_at_once_again_and_again_costs_each_call_one_stream() {
    let mut scene = scene().await;
    for n in 0..20 {
        let (mut stream, call) = called(&mut scene).await;
        for _ in 0..10 {
            stream.send(Frame::GoAway { last_call_id: 0, reason: GoAwayReason::Replaced, message: "\u{1b}" }).await;
        }
        let error = error(call).await;
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::NeverSent), "{n}");
        assert_eq!(stream.rest().await, []);
    }
    assert_eq!(scene.raw.accepted_since().len(), 0);
    goes_on(scene, None).await;
}

#[tokio::test]
async fn a_server_that_goes_away_and_never_answers_is_given_up() {
    let mut scene = scene().await;
    let mut streams = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..12 {
        let (mut stream, call) = called(&mut scene).await;
        stream.send(Frame::GoAway { last_call_id: u64::MAX, reason: GoAwayReason::ShuttingDown, message: "" }).await;
        streams.push(stream);
        calls.push(call);
        // Its next call goes to another stream once it has heard that.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let waiting = calls.iter().filter(|call| !call.is_finished()).count();
    assert!(waiting <= 5, "{waiting}");
    let error = error(calls.remove(0)).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun));
    drop(streams);
    calls.into_iter().for_each(|call| call.abort());
    goes_on(scene, None).await;
}

#[tokio::test]
async fn a_server_that_closes_each_stream_at_once_gets_three_of_a_call() {
    let mut scene = scene().await;
    for n in 0..10 {
        let call = echo(&scene);
        let mut streams = 0;
        while !call.is_finished() {
            streams += scene.raw.accepted_since().len();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        streams += scene.raw.accepted_since().len();
        assert!((1..=3).contains(&streams), "{n}: {streams}");
        assert_eq!(error(call).await.kind(), ErrorKind::ConnectionLost);
    }
    goes_on(scene, None).await;
}

#[tokio::test]
async fn a_server_that_closes_each_connection_at_once_is_dialled_a_few_times() {
    let mut scene = scene().await;
    scene.raw.refuse_connections();
    scene.raw.disconnect(scene.victim.id());
    scene.raw.connections_since();
    let call = echo(&scene);
    let began = Instant::now();
    let error = error(call).await;
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost | ErrorKind::Unreachable), "{error}");
    assert_eq!(error.delivery(), Delivery::NeverSent);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let connections = scene.raw.connections_since();
    assert!(connections <= 4, "{connections}");
    scene.is_cleared().await;
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_costs_a_call_its_time() {
    let mut scene = scene().await;
    let call = tokio::spawn(stub(&scene, Duration::from_millis(300)).echo("x".into()));
    let mut stream = scene.raw.accept().await;
    stream.hello().await;
    let began = Instant::now();
    let error = error(call).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::MayHaveRun));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(matches!(stream.next().await, Some(Got::Request { id: 1, .. })));
    assert_eq!(stream.next().await, Some(Got::Cancel { id: 1 }));
    goes_on(scene, Some(stream)).await;
}

#[tokio::test]
async fn a_server_that_does_not_read_costs_each_call_its_time() {
    let mut scene = scene().await;
    let big = tokio::spawn(stub(&scene, LONG).echo("x".repeat(4 << 20)[..(4 << 20) - 10].into()));
    let mut stream = scene.raw.accept().await;
    stream.hello().await;
    let began = Instant::now();
    let hasty: Vec<_> =
        (0..50).map(|_| tokio::spawn(stub(&scene, Duration::from_millis(300)).echo("y".repeat(10_000)))).collect();
    for call in hasty {
        assert_eq!(error(call).await.kind(), ErrorKind::DeadlineExceeded);
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(!big.is_finished());
    big.abort();
    drop(stream);
    goes_on(scene, None).await;
}

#[tokio::test]
async fn a_hello_that_takes_everything_lifts_none_of_our_limits() {
    let mut scene = scene().await;
    let first = echo(&scene);
    let mut stream = scene.raw.accept().await;
    let (max_calls, max_message, max_bytes_in_flight) = (u64::MAX, u64::MAX, u64::MAX);
    stream.send_bytes(&hello(&Hello { max_calls, max_message, max_bytes_in_flight, ..Hello::default() })).await;
    let too_large = stub(&scene, LONG).echo("x".repeat(5 << 20)).await.expect_err("it is larger than our own limit");
    assert_eq!((too_large.kind(), too_large.delivery()), (ErrorKind::TooLarge, Delivery::NeverSent));
    let calls: Vec<_> = (0..1100).map(|_| echo(&scene)).collect();
    let mut overloaded = 0;
    let began = Instant::now();
    while overloaded < 1101 - 1024 {
        assert!(began.elapsed() < LONG / 2, "{overloaded}");
        tokio::time::sleep(Duration::from_millis(5)).await;
        overloaded = calls.iter().filter(|call| call.is_finished()).count();
    }
    assert_eq!(overloaded, 1101 - 1024);
    for call in calls {
        if call.is_finished() {
            let error = error(call).await;
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::NeverSent));
        } else {
            call.abort();
        }
    }
    first.abort();
    drop(stream);
    goes_on(scene, None).await;
}

#[tokio::test]
async fn a_reply_that_announces_too_much_is_refused() {
    let mut scene = scene().await;
    let (mut stream, call) = called(&mut scene).await;
    stream
        .send(Frame::Response(Reply {
            id: 1,
            metadata: wire::MetadataRef::EMPTY,
            body_len: u64::MAX,
            chunk: &[7; 65_536],
        }))
        .await;
    let error = error(call).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::TooLarge, Delivery::Answered));
    stream.send(Frame::Body { id: 1, chunk: &[7; 65_536] }).await;
    goes_on(scene, Some(stream)).await;
}
