//! A peer that calls, and breaks the rules or stretches them. Meanwhile an honest one calls.

use std::time::{Duration, Instant};

use p2prpc::CodecId;
use p2prpc::wire::{Delivery, ErrorCode, Frame, GoAwayReason, Hello, MetadataRef, Reply, Role};
use p2prpc_tests::hostile::{Got, RawStream, Scene, encoded, hello, request, varint};

/// These bytes, behind a hello, end the stream with a protocol error that names this rule; everything else goes on.
async fn breaks(bytes: &[u8], rule: &str) {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    stream.send_bytes(bytes).await;
    is_told(&mut stream, rule).await;
    scene.is_unharmed().await;
}

async fn is_told(stream: &mut RawStream, rule: &str) {
    let Some((reason, message)) = stream.farewell().await else { panic!("no word about: {rule}") };
    assert_eq!(reason, GoAwayReason::ProtocolError, "{message}");
    assert!(message.contains(rule), "{message:?} says nothing of {rule:?}");
}

fn frame(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let fields = fields.concat();
    [&varint(fields.len() as u64 + 1)[..], &[kind], &fields].concat()
}

fn bytes(of: &[u8]) -> Vec<u8> {
    [&varint(of.len() as u64)[..], of].concat()
}

/// A request to `Target.Echo` with these pairs of metadata, whatever they are.
fn with_metadata(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let pairs_len = varint(pairs.len() as u64);
    let metadata: Vec<u8> = pairs.iter().flat_map(|(key, value)| [bytes(key), bytes(value)].concat()).collect();
    frame(2, &[&varint(1), &bytes(b"Target.Echo"), &varint(1), &varint(0), &pairs_len, &metadata, &varint(1), &[0]])
}

fn pair(key: &str, value: &str) -> (Vec<u8>, Vec<u8>) {
    (key.into(), value.into())
}

fn with_method(method: &[u8]) -> Vec<u8> {
    frame(2, &[&varint(1), &bytes(method), &varint(1), &varint(0), &varint(0), &varint(0)])
}

fn random_bytes(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..4096).map(|_| next()).collect()
}

#[tokio::test]
async fn random_bytes_end_the_stream() {
    let scene = Scene::start().await;
    for seed in 1..=20 {
        let mut stream = scene.stream().await;
        if seed % 2 == 0 {
            stream.hello().await;
        }
        stream.send_bytes(&random_bytes(seed)).await;
        let farewell = stream.farewell().await;
        assert!(
            matches!(farewell, Some((GoAwayReason::ProtocolError | GoAwayReason::Overloaded, _))),
            "seed {seed}: {farewell:?}"
        );
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_length_of_four_gibibytes_ends_the_stream() {
    breaks(&varint(4 << 30), "longer than 81920 bytes").await;
}

#[tokio::test]
async fn a_length_of_zero_ends_the_stream() {
    breaks(&[0], "is empty").await;
}

#[tokio::test]
async fn a_frame_that_stops_in_the_middle_has_ten_seconds() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    let whole = request(1, "Target.Echo", None, 5, &encoded(&"honest")[..5]);
    stream.send_bytes(&whole[..whole.len() - 3]).await;
    let began = Instant::now();
    let farewell = stream.farewell().await;
    assert!(matches!(farewell, Some((GoAwayReason::Overloaded, _))), "{farewell:?}");
    assert!((9..20).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_frame_before_hello_ends_the_stream() {
    let scene = Scene::start().await;
    let mut stream = scene.stream().await;
    stream.call(1, "Target.Echo", &"x").await;
    is_told(&mut stream, "not a hello").await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_second_hello_ends_the_stream() {
    breaks(&hello(&Hello::default()), "a second hello").await;
}

#[tokio::test]
async fn a_bad_hello_ends_the_stream() {
    let entry = |tag: u64, value: &[u8]| [varint(tag), bytes(value)].concat();
    let entries = |n: u64| (0..n).flat_map(|tag| entry(100 + tag, b"")).collect::<Vec<u8>>();
    let codecs: Vec<u8> = (1..=17).flat_map(varint).collect();
    let scene = Scene::start().await;
    for (fields, rule) in [
        (entry(1, &varint(2)), "role 2"),
        (entry(2, &varint(0)), "no calls"),
        (entry(3, &varint(65_535)), "65535 bytes"),
        (entry(4, &varint(0)), "0 bytes"),
        (entry(2, &[1, 1]), "after its last field"),
        (entry(5, &codecs), "more than 16 codecs"),
        (entry(5, &[1, 1]), "codec 1 twice"),
        (entry(5, &[0x80]), "in the middle of a field"),
        ([entry(2, &varint(1)), entry(2, &varint(1))].concat(), "entry 2 of a hello occurs twice"),
        (entries(33), "more than 32 entries"),
        (entry(99, &[0; 4096]), "longer than 4096 bytes"),
        (entry(1, &varint(Role::OneCall as u64)), "streams of one call"),
    ] {
        let mut stream = scene.stream().await;
        stream.send_bytes(&frame(1, &[&fields])).await;
        is_told(&mut stream, rule).await;
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_hello_at_its_limits_is_taken() {
    let scene = Scene::start().await;
    let mut stream = scene.stream().await;
    let entry = |tag: u64, value: &[u8]| [varint(tag), bytes(value)].concat();
    let codecs: Vec<u8> = (1..=16).flat_map(varint).collect();
    let unknown: Vec<u8> = (0..30).flat_map(|tag| entry(100 + tag, &[7; 100])).collect();
    let fields = [entry(3, &varint(65_536)), entry(5, &codecs), unknown].concat();
    stream.send_bytes(&frame(1, &[&fields])).await;
    stream.call(1, "Target.Echo", &"x").await;
    assert_eq!(stream.next().await, Some(Got::Response { id: 1, body_len: 2 }));
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_kind_that_has_to_be_understood_and_is_not_ends_the_stream() {
    for kind in [0, 10, 15] {
        let scene = Scene::start().await;
        let mut stream = scene.greeted().await;
        stream.send_bytes(&[1, kind]).await;
        is_told(&mut stream, &format!("kind {kind}")).await;
        scene.is_unharmed().await;
    }
}

#[tokio::test]
async fn what_is_for_item_streams_ends_a_call_stream() {
    breaks(&frame(8, &[&varint(1), &bytes(b"an item")]), "on a call stream").await;
    breaks(&frame(9, &[&varint(1), &varint(0), &[0]]), "on a call stream").await;
}

#[tokio::test]
async fn frames_of_later_versions_are_ignored_as_long_as_they_are_few() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    stream.send(Frame::Unknown { kind: 16, fields: &[] }).await;
    stream.send(Frame::Unknown { kind: 255, fields: &[7; 80_000] }).await;
    stream.call(1, "Target.Echo", &"still here").await;
    assert!(matches!(stream.next().await, Some(Got::Response { id: 1, .. })));
    let flood = frame(99, &[&[7]]).repeat(10_001);
    stream.send_bytes(&flood).await;
    let (reason, message) = stream.farewell().await.expect("a farewell");
    assert_eq!((reason, &*message), (GoAwayReason::Overloaded, "too much came that is of no use"));
    scene.is_cleared().await;
}

#[tokio::test]
async fn an_answer_from_the_end_that_calls_ends_the_stream() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    stream.send(Frame::Response(Reply { id: 1, metadata: MetadataRef::EMPTY, body_len: 0, chunk: &[] })).await;
    is_told(&mut stream, "from the end that calls").await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_call_id_that_repeats_ends_the_stream() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    stream.call(7, "Target.Echo", &"x").await;
    assert!(matches!(stream.next().await, Some(Got::Response { id: 7, .. })));
    stream.call(7, "Target.Echo", &"x").await;
    is_told(&mut stream, "repeats or falls").await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_call_id_that_falls_ends_the_stream_and_its_handlers() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    stream.call(7, "Target.Wait", &()).await;
    stream.call(6, "Target.Wait", &()).await;
    is_told(&mut stream, "repeats or falls").await;
    assert_eq!(scene.victim.count().most(), 1);
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_call_id_of_zero_ends_the_stream() {
    breaks(&frame(6, &[&varint(0)]), "call id is 0").await;
}

#[tokio::test]
async fn the_highest_call_id_is_taken_and_is_the_last() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    stream.call(u64::MAX, "Target.Echo", &"x").await;
    assert!(matches!(stream.next().await, Some(Got::Response { id: u64::MAX, .. })));
    stream.call(u64::MAX, "Target.Echo", &"x").await;
    is_told(&mut stream, "repeats or falls").await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn an_absurd_deadline_is_clamped_and_zero_starts_nothing() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    let longest = Duration::from_micros(u64::MAX - 1);
    stream.send_bytes(&request(1, "Target.Wait", Some(longest), 0, &[])).await;
    stream.send_bytes(&request(2, "Target.Wait", Some(Duration::ZERO), 0, &[])).await;
    let refused = Got::Error { id: 2, code: ErrorCode::DeadlineExceeded, delivery: Delivery::NeverSent };
    assert_eq!(stream.next().await, Some(refused));
    stream.send_bytes(&request(3, "Target.Wait", Some(Duration::from_millis(50)), 0, &[])).await;
    let stopped = Got::Error { id: 3, code: ErrorCode::DeadlineExceeded, delivery: Delivery::MayHaveRun };
    assert_eq!(stream.next().await, Some(stopped));
    assert_eq!(scene.victim.count().started(), 2);
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_body_for_a_call_never_made_ends_the_stream() {
    breaks(&frame(5, &[&varint(1), b"x"]), "never made").await;
}

#[tokio::test]
async fn a_cancel_for_a_call_never_made_ends_the_stream() {
    breaks(&frame(6, &[&varint(1)]), "never made").await;
}

#[tokio::test]
async fn a_chunk_of_zero_bytes_ends_the_stream() {
    let begun = request(1, "Target.Echo", None, 10, &[]);
    breaks(&[begun, frame(5, &[&varint(1)])].concat(), "empty chunk").await;
}

#[tokio::test]
async fn a_first_chunk_past_the_body_ends_the_stream() {
    let fields = [varint(1), bytes(b"Target.Echo"), varint(1), varint(0), varint(0), varint(2), vec![7; 3]].concat();
    breaks(&frame(2, &[&fields]), "longer than the body").await;
}

#[tokio::test]
async fn a_later_chunk_past_the_body_ends_the_stream() {
    let begun = request(1, "Target.Echo", None, 10, &[7; 5]);
    breaks(&[begun, frame(5, &[&varint(1), &[7; 6]])].concat(), "longer than announced").await;
}

#[tokio::test]
async fn a_chunk_above_64_kib_ends_the_stream() {
    let begun = request(1, "Target.Echo", None, 100_000, &[]);
    breaks(&[begun, frame(5, &[&varint(1), &[7; 65_537]])].concat(), "longer than 65536").await;
}

#[tokio::test]
async fn bad_metadata_ends_the_stream() {
    let many: Vec<_> = (0..65).map(|n| pair(&format!("k{n}"), "")).collect();
    let scene = Scene::start().await;
    for (pairs, rule) in [
        (many, "more than 64 pairs"),
        (vec![pair("k", &"v".repeat(8192))], "more than 8192 bytes"),
        (vec![pair("k", "1"), pair("k", "2")], "occurs twice"),
        (vec![pair("", "1")], "1 to 64 characters"),
        (vec![pair(&"k".repeat(65), "1")], "1 to 64 characters"),
        (vec![pair("Key", "1")], "1 to 64 characters"),
        (vec![pair("k\u{1b}[2J", "1")], "1 to 64 characters"),
        (vec![(b"k".to_vec(), vec![0xff])], "not UTF-8"),
    ] {
        let mut stream = scene.greeted().await;
        stream.send_bytes(&with_metadata(&pairs)).await;
        is_told(&mut stream, rule).await;
    }
    let mut stream = scene.greeted().await;
    let most: Vec<_> = (0..64).map(|n| pair(&format!("k{n:02}"), &"v".repeat(125))).collect();
    stream.send_bytes(&with_metadata(&most)).await;
    assert!(matches!(stream.next().await, Some(Got::Response { id: 1, .. })));
    let mut stream = scene.greeted().await;
    stream.send_bytes(&with_metadata(&[pair("p2prpc-later", "1")])).await;
    assert!(matches!(stream.next().await, Some(Got::Response { id: 1, .. })));
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_bad_method_name_ends_the_stream() {
    let scene = Scene::start().await;
    for (method, rule) in [
        (&b""[..], "1 to 256 bytes"),
        (&[b'a'; 257], "1 to 256 bytes"),
        (b"Target.Echo\n", "can't be printed"),
        ("Target.\u{202e}ohcE".as_bytes(), "can't be printed"),
        (&[0xff; 3], "not UTF-8"),
    ] {
        let mut stream = scene.greeted().await;
        stream.send_bytes(&with_method(method)).await;
        is_told(&mut stream, rule).await;
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn what_is_not_served_is_refused_and_the_stream_goes_on() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    for (id, method) in [(1, "Target.Nothing"), (2, "Nothing.Echo"), (3, "Target"), (4, "p2prpc-membership.Describe")] {
        stream.call(id, method, &"x").await;
        let refused = Got::Error { id, code: ErrorCode::NotServed, delivery: Delivery::NeverSent };
        assert_eq!(stream.next().await, Some(refused));
    }
    let codec = [varint(5), bytes(b"Target.Echo"), varint(u64::MAX), varint(0), varint(0), varint(0)].concat();
    stream.send_bytes(&frame(2, &[&codec])).await;
    let refused = Got::Error { id: 5, code: ErrorCode::UnsupportedCodec, delivery: Delivery::NeverSent };
    assert_eq!(stream.next().await, Some(refused));
    stream.call(6, "Target.Echo", &"x").await;
    assert!(matches!(stream.next().await, Some(Got::Response { id: 6, .. })));
    scene.is_unharmed().await;
}

#[tokio::test]
async fn arguments_that_are_none_are_refused_and_the_stream_goes_on() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    for id in 1..=100 {
        let body = random_bytes(id);
        let body = &body[..usize::try_from(id * 13).unwrap()];
        stream.send_bytes(&request(id, "Target.Nest", None, body.len() as u64, body)).await;
        let refused = Got::Error { id, code: ErrorCode::BadArguments, delivery: Delivery::NeverSent };
        assert_eq!(stream.next().await, Some(refused));
    }
    scene.is_unharmed().await;
}

/// In pieces, since it is longer than a chunk.
async fn call_with(stream: &mut RawStream, id: u64, method: &str, codec: CodecId, body: &[u8]) {
    let (codec, method, len) = (varint(codec.get().into()), bytes(method.as_bytes()), varint(body.len() as u64));
    stream.send_bytes(&frame(2, &[&varint(id), &method, &codec, &varint(0), &varint(0), &len])).await;
    for chunk in body.chunks(65_536) {
        stream.send_bytes(&frame(5, &[&varint(id), chunk])).await;
    }
}

#[tokio::test]
async fn arguments_that_are_bombs_are_refused_in_every_codec() {
    const MOST: usize = 4 << 20;
    // Arguments are a struct of one field: an array of one in MessagePack, a map or an array in JSON.
    let messagepack: Vec<u8> = [vec![0x91], vec![0x91; MOST - 1]].concat();
    let json = [b"{\"value\":".to_vec(), b"{\"inside\":[".repeat((MOST - 9) / 11)].concat();
    // A length of 2^40 without a byte for any of the elements.
    let bincode_units: Vec<u8> = [&[253][..], &(1_u64 << 40).to_le_bytes()].concat();
    let postcard_units = varint(1 << 40);
    let messagepack_units = [0x91, 0xdd, 0xff, 0xff, 0xff, 0xff].to_vec();
    let json_units = [&b"{\"units\":["[..], &b"null,".repeat((MOST - 20) / 5), b"null]}"].concat();
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    let mut id = 0;
    for (method, codec, body, refused) in [
        ("Target.Nest", CodecId::BINCODE, vec![1; MOST], true),
        ("Target.Nest", CodecId::POSTCARD, vec![1; MOST], true),
        ("Target.Nest", CodecId::MESSAGEPACK, messagepack, true),
        ("Target.Nest", CodecId::JSON, json, true),
        ("Target.Count", CodecId::BINCODE, bincode_units, true),
        ("Target.Count", CodecId::POSTCARD, postcard_units, true),
        ("Target.Count", CodecId::MESSAGEPACK, messagepack_units, true),
        // Units of no size, each with bytes of its own: they cost nothing, and are counted.
        ("Target.Count", CodecId::JSON, json_units, false),
    ] {
        id += 1;
        let began = Instant::now();
        call_with(&mut stream, id, method, codec, &body).await;
        let answer = stream.next().await;
        let bad = Got::Error { id, code: ErrorCode::BadArguments, delivery: Delivery::NeverSent };
        assert!(!refused || answer == Some(bad), "{method} in {codec}: {answer:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{method} in {codec}: {:?}", began.elapsed());
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_body_that_is_refused_is_let_go_by() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    let len = 5 << 20;
    stream.send_bytes(&request(1, "Target.Echo", None, len, &[])).await;
    let refused = Got::Error { id: 1, code: ErrorCode::TooLarge, delivery: Delivery::NeverSent };
    assert_eq!(stream.next().await, Some(refused));
    for _ in 0..len / 65_536 {
        stream.send_bytes(&frame(5, &[&varint(1), &[7; 65_536]])).await;
    }
    stream.call(2, "Target.Echo", &"x").await;
    assert!(matches!(stream.next().await, Some(Got::Response { id: 2, .. })));
    scene.is_unharmed().await;
}

#[tokio::test]
async fn bytes_in_flight_past_the_limit_are_refused() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    for id in 1..=1000 {
        stream.send_bytes(&request(id, "Target.Echo", None, 4 << 20, &[])).await;
    }
    for id in 17..=1000 {
        let refused = Got::Error { id, code: ErrorCode::Overloaded, delivery: Delivery::NeverSent };
        assert_eq!(stream.next().await, Some(refused));
    }
    // An honest call of the same peer finds no room either, and after a cancel it does.
    stream.call(1001, "Target.Echo", &"x").await;
    assert!(matches!(stream.next().await, Some(Got::Error { id: 1001, code: ErrorCode::Overloaded, .. })));
    stream.send(Frame::Cancel { id: 3 }).await;
    stream.call(1002, "Target.Echo", &"x").await;
    assert!(matches!(stream.next().await, Some(Got::Response { id: 1002, .. })));
    drop(stream);
    scene.is_unharmed().await;
}

#[tokio::test]
async fn calls_in_flight_past_the_limit_are_refused() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    for id in 1..=1100 {
        stream.call(id, "Target.Wait", &()).await;
    }
    for id in 1025..=1100 {
        let refused = Got::Error { id, code: ErrorCode::Overloaded, delivery: Delivery::NeverSent };
        assert_eq!(stream.next().await, Some(refused));
    }
    assert_eq!(scene.victim.count().alive(), 1024);
    drop(stream);
    scene.is_cleared().await;
}

#[tokio::test]
async fn all_calls_of_all_peers_are_bounded_and_one_peer_has_no_more_than_its_share() {
    let scene = Scene::with(|limits| (limits.max_calls, limits.max_calls_per_peer) = (4_096, 4_096)).await;
    let mut stream = scene.greeted().await;
    for id in 1..=300 {
        stream.call(id, "Target.Wait", &()).await;
    }
    assert!(matches!(stream.next().await, Some(Got::Error { id: 257, code: ErrorCode::Overloaded, .. })));
    assert_eq!(scene.victim.count().most(), 256);
    drop(stream);
    scene.is_cleared().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_requests_and_cancels_starts_no_more_handlers_than_the_limit() {
    let scene = Scene::with(|limits| limits.max_calls_per_peer = 32).await;
    let mut stream = scene.greeted().await;
    let mut batch = 0_u64;
    // At least so many, and until places were given back and taken again.
    while batch < 40 || (scene.victim.count().started() <= 32 && batch < 4_000) {
        let storm: Vec<u8> = (batch * 50 + 1..=batch * 50 + 50)
            .flat_map(|id| [request(id, "Target.Cling", None, 0, &[]), frame(6, &[&varint(id)])].concat())
            .collect();
        stream.send_bytes(&storm).await;
        batch += 1;
    }
    let last = batch * 50 + 1;
    stream.call(last, "Target.Nothing", &()).await;
    while !matches!(stream.next().await, Some(Got::Error { id, .. }) if id == last) {}
    let (most, started) = (scene.victim.count().most(), scene.victim.count().started());
    assert!(most <= 32 && started > 32, "{most} at once of {started}");
    drop(stream);
    scene.is_cleared().await;
}

#[tokio::test]
async fn a_handler_ends_with_the_stream_of_its_caller() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    for id in 1..=10 {
        stream.call(id, "Target.Wait", &()).await;
    }
    stream.call(11, "Target.Echo", &"x").await;
    assert!(matches!(stream.next().await, Some(Got::Response { id: 11, .. })));
    assert_eq!(scene.victim.count().alive(), 10);
    drop(stream);
    while scene.victim.count().alive() > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_third_call_stream_takes_the_place_of_the_first_and_a_fourth_is_reset() {
    let scene = Scene::start().await;
    let mut streams = Vec::new();
    for n in 1..=3 {
        let mut stream = scene.greeted().await;
        stream.call(1, "Target.Echo", &"x").await;
        assert!(matches!(stream.next().await, Some(Got::Response { .. })), "{n}");
        stream.call(2, "Target.Wait", &()).await;
        streams.push(stream);
    }
    let replaced = Got::GoAway { last: 2, reason: GoAwayReason::Replaced, message: String::new() };
    assert_eq!(streams[0].next().await, Some(replaced));
    // What was under way there goes on, and nothing new is taken.
    streams[0].call(3, "Target.Echo", &"x").await;
    let mut fourth = scene.greeted().await;
    assert_eq!(fourth.next().await, None);
    assert_eq!(scene.victim.count().alive(), 3);
    // Once the first is gone there is room for another.
    streams.remove(0);
    loop {
        let mut next = scene.greeted().await;
        next.call(1, "Target.Echo", &"x").await;
        match next.next().await {
            Some(Got::Response { id: 1, .. }) => break,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
            other => panic!("{other:?}"),
        }
    }
    drop(streams);
    scene.is_cleared().await;
}

#[tokio::test]
async fn go_aways_of_a_caller_change_nothing() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    for _ in 0..1000 {
        stream.send(Frame::GoAway { last_call_id: u64::MAX, reason: GoAwayReason::Idle, message: "\u{1b}[2J" }).await;
    }
    stream.call(1, "Target.Echo", &"x").await;
    assert!(matches!(stream.next().await, Some(Got::Response { id: 1, .. })));
    scene.is_unharmed().await;
}
