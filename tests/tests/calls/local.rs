//! A service can be tested without a network: its local client runs the same path.

use std::time::Duration;

use futures::StreamExt;
use p2prpc::prelude::*;
use p2prpc_tests::{Bench, LONG, MathError, WorkbenchClient, soon};

fn local() -> (WorkbenchClient, Bench, PeerId) {
    let bench = Bench::new();
    let client = WorkbenchClient::local(bench.clone());
    let id = client.local_peer_id().unwrap();
    (client, bench, id)
}

#[tokio::test]
async fn calls_give_what_the_service_gives() {
    let (client, _, id) = local();
    for codec in CodecId::supported() {
        let service = client.clone().codec(*codec).peer(id);
        assert_eq!(service.echo("hello".into()).await.unwrap(), "hello");
        assert_eq!(service.add(1, 2, 3).await.unwrap(), 6);
        let error = service.divide(1, 0).await.unwrap_err();
        assert_eq!(error.application(), Some(&MathError::DivisionByZero { dividend: 1 }));
    }
    assert_eq!(client.peer(id).who().await.unwrap(), id.to_string());
    assert_eq!(client.peer(id).metadata("k".into()).metadata("k", "v").await.unwrap().as_deref(), Some("v"));
}

#[tokio::test]
async fn whatever_peer_is_called_it_is_the_service() {
    let (client, _, id) = local();
    let others = [PeerId::random(), PeerId::random()];
    assert_eq!(client.peer(others[0]).add(1, 2, 3).await.unwrap(), 6);
    let replies = client.peers(others).add(1, 2, 3).await;
    assert_eq!(replies.ok().map(|(peer, sum)| (peer, *sum)).collect::<Vec<_>>(), others.map(|peer| (peer, 6)));
    let all = client.add_all(1, 2, 3).await;
    assert_eq!(all.ok().map(|(peer, sum)| (peer, *sum)).collect::<Vec<_>>(), [(id, 6)]);
    assert_eq!(client.wait_for(1).await.unwrap(), [id]);
    assert_eq!(client.members(), [id]);
}

#[tokio::test]
async fn limits_deadlines_and_dropping_hold() {
    let (client, bench, id) = local();
    let service = client.timeout(LONG).peer(id);
    assert_eq!(service.echo("x".repeat(5_000_000)).await.unwrap_err().kind(), ErrorKind::TooLarge);
    let late = service.hold("late".into()).timeout(Duration::from_millis(100));
    assert_eq!(soon("it ends", late).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    bench.has_dropped(1).await;
    let call = tokio::spawn(service.hold("dropped".into()));
    bench.has_waiting(1).await;
    call.abort();
    bench.has_dropped(2).await;
}

#[tokio::test]
async fn its_handlers_can_call_it_too() {
    let (client, _, id) = local();
    let path = vec![id.to_string(); 10];
    assert_eq!(soon("it comes back", client.peer(id).relay(path, "deep".into())).await.unwrap(), "deep");
}

#[tokio::test]
async fn it_lives_as_long_as_any_of_its_clients_and_calls() {
    let (client, bench, id) = local();
    let service = client.peer(id);
    drop(client);
    assert_eq!(service.add(1, 2, 3).await.unwrap(), 6);
    let call = tokio::spawn(service.hold("held".into()));
    let mut replies = {
        let (client, _, id) = local();
        client.peers([id, id]).add(1, 2, 3).replies()
    };
    drop(service);
    bench.has_waiting(1).await;
    bench.release();
    assert_eq!(soon("it is answered", call).await.unwrap().unwrap(), "held");
    assert_eq!(replies.next().await.unwrap().1.unwrap(), 6);
    assert_eq!(replies.next().await.unwrap().1.unwrap(), 6);
}
