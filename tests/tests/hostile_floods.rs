//! Many streams, many connections, much of everything. Meanwhile an honest peer calls.

use std::time::Duration;

use libp2p::futures::future::join_all;
use p2prpc::wire::{Delivery, ErrorCode, Frame};
use p2prpc_tests::hostile::{Got, RawPeer, Scene, request};

#[tokio::test]
async fn of_hundreds_of_streams_opened_at_once_three_are_kept() {
    let scene = Scene::start().await;
    let opened = join_all((0..500).map(|_| scene.raw.open(scene.victim.id()))).await;
    let mut streams: Vec<_> = opened.into_iter().flatten().collect();
    for stream in &mut streams {
        stream.hello().await;
        stream.call(1, "Target.Wait", &()).await;
    }
    // At most two take calls; one more was told to go away.
    let heard = tokio::time::timeout(Duration::from_secs(5), async {
        while scene.victim.count().started() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    heard.await.expect("the last two take calls");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let alive = scene.victim.count().alive();
    assert!(alive <= 3, "{alive} of {} streams", streams.len());
    drop(streams);
    scene.is_cleared().await;
}

#[tokio::test]
async fn a_thousand_streams_one_after_the_other_leave_nothing() {
    let scene = Scene::start().await;
    for _ in 0..1000 {
        let mut stream = scene.greeted().await;
        stream.call(1, "Target.Wait", &()).await;
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn more_streams_than_a_connection_may_have_end_that_connection_at_most() {
    let scene = Scene::start().await;
    let opened = join_all((0..1500).map(|_| scene.raw.open(scene.victim.id())));
    let opened = tokio::time::timeout(Duration::from_secs(20), opened).await;
    drop(opened);
    scene.is_cleared().await;
}

#[tokio::test]
async fn the_limits_of_a_peer_hold_over_all_its_connections() {
    let mut scene = Scene::with(|limits| limits.max_calls_per_peer = 10).await;
    for _ in 0..5 {
        scene.raw.connect(scene.victim.address()).await;
    }
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = scene.greeted().await;
        for id in 1..=20 {
            stream.call(id, "Target.Wait", &()).await;
        }
        stream.call(21, "Target.Nothing", &()).await;
        let mut refused = 0;
        loop {
            match stream.next().await {
                Some(Got::Error { code: ErrorCode::Overloaded, delivery: Delivery::NeverSent, .. }) => refused += 1,
                Some(Got::Error { id: 21, .. }) => break,
                other => panic!("{other:?}"),
            }
        }
        streams.push((stream, refused));
    }
    assert_eq!((streams[0].1, streams[1].1, scene.victim.count().most()), (10, 20, 10));
    drop(streams);
    scene.is_cleared().await;
}

#[tokio::test]
async fn many_peers_that_connect_and_do_nothing_disturb_nobody() {
    let scene = Scene::start().await;
    let mut crowd = Vec::new();
    for n in 0..60 {
        let mut raw = RawPeer::start().await;
        raw.connect(scene.victim.address()).await;
        if n % 2 == 0 {
            let mut stream = raw.open(scene.victim.id()).await.expect("the victim takes a stream");
            stream.hello().await;
            stream.send_bytes(&[100]).await;
            crowd.push((raw, Some(stream)));
        } else {
            crowd.push((raw, None));
        }
    }
    scene.honest.is_served().await;
    drop(crowd);
    scene.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_calls_that_are_refused_delays_others_little() {
    let scene = Scene::start().await;
    let mut stream = scene.greeted().await;
    let began = std::time::Instant::now();
    let mut id = 0;
    while began.elapsed() < Duration::from_secs(1) {
        let flood: Vec<u8> = (id + 1..=id + 200).flat_map(|id| request(id, "Nothing.At.All", None, 0, &[])).collect();
        id += 200;
        stream.send_bytes(&flood).await;
        let last = id;
        while !matches!(stream.next().await, Some(Got::Error { id, .. }) if id == last) {}
    }
    assert!(id > 1000, "{id}");
    stream.send(Frame::Cancel { id }).await;
    drop(stream);
    scene.is_unharmed().await;
}
