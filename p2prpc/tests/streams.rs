//! Methods that give or take a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::stream;
use p2prpc::prelude::*;
use tokio::sync::Notify;

#[p2p_service]
trait Streams {
    /// Counts up.
    async fn count(&self, to: u64) -> impl Stream<Item = u64>;
    /// May fail first, and in the middle.
    async fn watch(&self, topic: String) -> Result<impl Stream<Item = Result<String, String>>, String>;
    async fn upload(&self, cx: &Context, name: String, chunks: Streaming<Vec<u8>>) -> Result<(String, u64), String>;
    async fn echo(&self, lines: Streaming<String>) -> impl Stream<Item = String>;
    async fn for_ever(&self) -> impl Stream<Item = u64>;
    async fn silent(&self) -> impl Stream<Item = u64>;
    async fn large(&self, bytes: usize, times: usize) -> impl Stream<Item = Vec<u8>>;
    async fn panics(&self, after: u64) -> impl Stream<Item = u64>;
    async fn ping(&self) -> u64;
    /// Takes one and answers.
    async fn first(&self, items: Streaming<u64>) -> Option<u64>;
}

#[derive(Clone, Default)]
struct Service {
    running: Arc<AtomicUsize>,
    ended: Arc<Notify>,
}

struct Running(Service);

impl Service {
    fn begin(&self) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(self.clone())
    }

    async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.running.load(Ordering::SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.ended.notify_waiters();
    }
}

impl Streams for Service {
    async fn count(&self, to: u64) -> impl Stream<Item = u64> {
        stream::iter(1..=to)
    }

    async fn watch(&self, topic: String) -> Result<impl Stream<Item = Result<String, String>>, String> {
        if topic.is_empty() {
            return Err("which topic?".into());
        }
        Ok(stream::iter([Ok(topic), Err("lost it".into())]))
    }

    async fn upload(
        &self,
        cx: &Context,
        name: String,
        mut chunks: Streaming<Vec<u8>>,
    ) -> Result<(String, u64), String> {
        let _running = self.begin();
        let mut bytes = 0;
        while let Some(chunk) = chunks.next().await {
            bytes += chunk.map_err(|error| error.to_string())?.len() as u64;
        }
        cx.insert_reply_metadata("took", "all").expect("short");
        Ok((name, bytes))
    }

    async fn echo(&self, lines: Streaming<String>) -> impl Stream<Item = String> {
        let running = self.begin();
        lines.map(move |line| {
            let _running = &running;
            line.unwrap_or_else(|error| error.kind().to_string())
        })
    }

    async fn for_ever(&self) -> impl Stream<Item = u64> {
        let running = self.begin();
        stream::iter(0..).map(move |n| {
            let _running = &running;
            n
        })
    }

    async fn silent(&self) -> impl Stream<Item = u64> {
        let running = self.begin();
        stream::pending().map(move |n| {
            let _running = &running;
            n
        })
    }

    async fn large(&self, bytes: usize, times: usize) -> impl Stream<Item = Vec<u8>> {
        stream::iter((0..times).map(move |n| vec![n as u8; bytes]))
    }

    async fn panics(&self, after: u64) -> impl Stream<Item = u64> {
        stream::iter(0..).map(move |n| if n < after { n } else { panic!("on purpose") })
    }

    async fn ping(&self) -> u64 {
        1
    }

    async fn first(&self, mut items: Streaming<u64>) -> Option<u64> {
        items.next().await?.ok()
    }
}

async fn node(service: Option<Service>) -> Node {
    let builder = Node::builder().listen("/ip4/127.0.0.1/tcp/0");
    let builder = match service {
        Some(service) => builder.serve(StreamsServer::new(service)),
        None => builder,
    };
    builder.start().await.expect("a node")
}

/// A client of the service at another node, and what is to be kept.
async fn pair() -> (StreamsPeer, Service, (Node, Node)) {
    let service = Service::default();
    let (server, caller) = (node(Some(service.clone())).await, node(None).await);
    caller.connect(server.addresses().pop().expect("an address")).await.expect("it is there");
    (StreamsClient::new(&caller).peer(server.peer_id()), service, (server, caller))
}

fn both_ways() -> Vec<(&'static str, StreamsPeer)> {
    vec![("local", StreamsClient::local(Service::default()).peer(PeerId::random()))]
}

async fn check_all_shapes(peer: &StreamsPeer) {
    assert!(peer.count(0).collect_all().await.unwrap().is_empty());
    assert_eq!(peer.count(3).collect_all().await.unwrap(), [1, 2, 3]);
    let many = peer.count(100_000).collect_all().await.unwrap();
    assert_eq!((many.len(), many.last()), (100_000, Some(&100_000)));
    let mut watch = peer.watch("news".into());
    assert_eq!(watch.next().await.unwrap().unwrap(), Ok("news".to_string()));
    assert_eq!(watch.next().await.unwrap().unwrap(), Err("lost it".to_string()));
    assert!(watch.next().await.is_none() && watch.next().await.is_none());
    let mut denied = peer.watch(String::new());
    let error = denied.next().await.unwrap().unwrap_err();
    assert_eq!(error.application().map(String::as_str), Some("which topic?"), "{error}");
    assert!(denied.next().await.is_none());
    let chunks = stream::iter((0..100).map(|n| vec![1; n * 100]));
    assert_eq!(peer.upload("file".into(), chunks).await.unwrap(), ("file".into(), 495_000));
    assert_eq!(peer.upload("none".into(), stream::empty()).await.unwrap(), ("none".into(), 0));
    let mut echo = peer.echo();
    for word in ["one", "two", "three"] {
        echo.send(word.into()).await.unwrap();
        assert_eq!(echo.next().await.unwrap().unwrap(), word);
    }
    echo.finish_sending();
    assert!(echo.next().await.is_none());
    let large = peer.large(1 << 20, 5).collect_all().await.unwrap();
    assert!(
        large.iter().enumerate().all(|(n, item)| item.len() == 1 << 20 && item.iter().all(|byte| *byte == n as u8))
    );
    let mut panics = peer.panics(3);
    let mut come = Vec::new();
    while let Some(item) = panics.next().await {
        match item {
            Ok(item) => come.push(item),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Panicked, "{error}"),
        }
    }
    assert_eq!(come, [0, 1, 2]);
    assert_eq!(peer.first(stream::iter(7..)).await.unwrap(), Some(7), "answered before all is sent");
    assert_eq!(peer.ping().await.unwrap(), 1);
}

#[tokio::test]
async fn all_shapes_within_a_process() {
    for (_, peer) in both_ways() {
        check_all_shapes(&peer).await;
    }
}

#[tokio::test]
async fn all_shapes_over_tcp() {
    let (peer, service, _nodes) = pair().await;
    for _ in 0..3 {
        check_all_shapes(&peer).await;
    }
    service.all_ended().await;
}

#[tokio::test]
async fn dropping_the_stream_ends_the_handler() {
    let (peer, service, _nodes) = pair().await;
    for _ in 0..20 {
        let mut ticks = peer.for_ever();
        assert_eq!(ticks.next().await.unwrap().unwrap(), 0);
        drop(ticks);
        service.all_ended().await;
    }
    let (mut sender, receiver) = peer.echo().into_split();
    sender.send("one".into()).await.unwrap();
    drop(receiver);
    service.all_ended().await;
    let error = async { while sender.send("more".into()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(5), error).await.expect("the sender is told");
}

#[tokio::test]
async fn a_silent_stream_ends_with_its_idle_timeout_or_its_own() {
    let (peer, service, _nodes) = pair().await;
    for call in
        [peer.silent().idle_timeout(Duration::from_millis(100)), peer.silent().timeout(Duration::from_millis(100))]
    {
        let mut call = call;
        let error = call.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::MayHaveRun));
        assert!(call.next().await.is_none(), "an error comes once");
        service.all_ended().await;
    }
}
