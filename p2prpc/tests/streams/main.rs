//! Methods that give or take a stream.

mod flow;
mod many;

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
    /// Items of 1 KiB, as fast as they are taken; how many were is noted.
    async fn noted(&self) -> impl Stream<Item = Vec<u8>>;
    /// Takes one item each time that it is told to.
    async fn slow(&self, items: Streaming<Vec<u8>>) -> u64;
    /// The caller's metadata, and whether the call has a deadline; and metadata of its own at the end.
    async fn about(&self, cx: &Context) -> impl Stream<Item = String>;
    /// Takes all; how many came is noted, and that they were all if that was said.
    async fn collect(&self, items: Streaming<u64>) -> u64;
    /// The same, and gives each back.
    async fn collect_and_echo(&self, items: Streaming<u64>) -> impl Stream<Item = u64>;
    /// Takes one and answers.
    async fn first(&self, items: Streaming<u64>) -> Option<u64>;
}

#[derive(Clone, Default)]
struct Service {
    running: Arc<AtomicUsize>,
    ended: Arc<Notify>,
    given: Arc<AtomicUsize>,
    whole: Arc<AtomicUsize>,
    go_on: Arc<Notify>,
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

    async fn noted(&self) -> impl Stream<Item = Vec<u8>> {
        let (running, given) = (self.begin(), self.given.clone());
        stream::repeat_with(move || {
            let _running = &running;
            given.fetch_add(1, Ordering::SeqCst);
            vec![7; 1024]
        })
    }

    async fn slow(&self, mut items: Streaming<Vec<u8>>) -> u64 {
        let _running = self.begin();
        let mut come = 0;
        loop {
            self.go_on.notified().await;
            match items.next().await {
                Some(Ok(_)) => come += 1,
                _ => return come,
            }
        }
    }

    async fn about(&self, cx: &Context) -> impl Stream<Item = String> {
        cx.insert_reply_metadata("last", "word").expect("short");
        let trace = cx.metadata().get("trace").unwrap_or("none").to_owned();
        let timed = if cx.remaining() < Duration::from_secs(3600) { "timed" } else { "untimed" };
        stream::iter([trace, timed.to_owned(), cx.peer().to_string()])
    }

    async fn collect(&self, mut items: Streaming<u64>) -> u64 {
        let _running = self.begin();
        let mut come = 0;
        loop {
            match items.next().await {
                Some(Ok(_)) => come += 1,
                Some(Err(_)) => return come,
                None => {
                    self.whole.fetch_add(1, Ordering::SeqCst);
                    return come;
                }
            }
            self.given.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn collect_and_echo(&self, items: Streaming<u64>) -> impl Stream<Item = u64> {
        let (running, whole) = (self.begin(), self.whole.clone());
        stream::unfold((items, running), move |(mut items, running)| {
            let whole = whole.clone();
            async move {
                match items.next().await {
                    Some(item) => Some((item.ok()?, (items, running))),
                    None => {
                        whole.fetch_add(1, Ordering::SeqCst);
                        None
                    }
                }
            }
        })
    }

    async fn first(&self, mut items: Streaming<u64>) -> Option<u64> {
        items.next().await?.ok()
    }
}

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
#[cfg(feature = "quic")]
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

async fn node(service: Option<Service>, listen: &str) -> Node {
    let builder = Node::builder().listen(listen);
    let builder = match service {
        Some(service) => builder.serve(StreamsServer::new(service)),
        None => builder,
    };
    builder.start().await.expect("a node")
}

/// A client of the service at another node, and what is to be kept.
async fn pair() -> (StreamsPeer, Service, (Node, Node)) {
    pair_over(TCP).await
}

async fn pair_over(listen: &str) -> (StreamsPeer, Service, (Node, Node)) {
    let service = Service::default();
    let (server, caller) = (node(Some(service.clone()), listen).await, node(None, listen).await);
    caller.connect(server.addresses().pop().expect("an address")).await.expect("it is there");
    (StreamsClient::new(&caller).peer(server.peer_id()), service, (server, caller))
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
    check_all_shapes(&StreamsClient::local(Service::default()).peer(PeerId::random())).await;
}

#[cfg(feature = "quic")]
#[tokio::test]
async fn all_shapes_over_quic() {
    let (peer, service, _nodes) = pair_over(QUIC).await;
    for _ in 0..2 {
        check_all_shapes(&peer).await;
    }
    service.all_ended().await;
}

#[tokio::test]
async fn metadata_and_time_travel_with_a_stream() {
    let (peer, _, (_server, caller)) = pair().await;
    let mut about = peer.about().metadata("trace", "17").timeout(Duration::from_secs(60));
    assert!(about.end_metadata().is_none());
    let mut said = Vec::new();
    while let Some(item) = about.next().await {
        said.push(item.unwrap());
    }
    assert_eq!(said, ["17", "timed", &caller.peer_id().to_string()]);
    assert_eq!(about.end_metadata().and_then(|metadata| metadata.get("last")), Some("word"));
    assert_eq!(peer.about().collect_all().await.unwrap()[1], "untimed");
    let invalid = peer.about().metadata("NO", "").next().await.unwrap().unwrap_err();
    assert_eq!((invalid.kind(), invalid.delivery()), (ErrorKind::InvalidRequest, Delivery::NeverSent));
}

#[tokio::test]
async fn who_may_not_call_is_told_that_there_is_no_such_stream() {
    let server = StreamsServer::new(Service::default()).authorize(|call| call.method() == "Ping");
    let peer = StreamsClient::local(server).peer(PeerId::random());
    assert_eq!(peer.ping().await.unwrap(), 1);
    let error = peer.count(3).next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotServed, Delivery::NeverSent));
    let error = peer.first(stream::iter(0..)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotServed, Delivery::NeverSent));
}

/// The same service, declared otherwise.
mod otherwise {
    use p2prpc::prelude::*;

    #[p2p_service]
    pub trait Streams {
        async fn count(&self, to: u64) -> u64;
        async fn ping(&self) -> impl Stream<Item = u64>;
    }
}

#[tokio::test]
async fn who_takes_a_stream_for_a_call_or_a_call_for_a_stream_is_told() {
    let (_, _, (server, caller)) = pair().await;
    let other = otherwise::StreamsClient::new(&caller).peer(server.peer_id());
    let error = other.count(3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadArguments, "{error}");
    assert!(error.to_string().contains("the method streams"), "{error}");
    let error = other.ping().next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::BadArguments, Delivery::NeverSent), "{error}");
    assert!(error.to_string().contains("does not stream"), "{error}");
}

#[tokio::test]
async fn a_call_without_a_connection_dials_and_one_to_nobody_fails_before_anything_is_sent() {
    let service = Service::default();
    let (server, caller) = (node(Some(service), TCP).await, node(None, TCP).await);
    let address = server.addresses().pop().expect("an address");
    caller.add_address(server.peer_id(), address).expect("an address");
    let client = StreamsClient::new(&caller);
    assert_eq!(client.peer(server.peer_id()).count(3).collect_all().await.unwrap(), [1, 2, 3]);
    let error = client.peer(PeerId::random()).count(3).next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unreachable, Delivery::NeverSent), "{error}");
    let (mut sender, mut receiver) = client.peer(PeerId::random()).echo().into_split();
    assert!(sender.send("nobody".into()).await.is_err());
    let error = receiver.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unreachable, Delivery::NeverSent), "{error}");
}

#[tokio::test]
async fn a_server_that_goes_ends_its_streams_and_what_had_come_is_said() {
    let (peer, _, (server, _caller)) = pair().await;
    let mut silent = peer.silent();
    assert!(futures::poll!(silent.next()).is_pending());
    let mut noted = peer.noted();
    assert!(noted.next().await.unwrap().is_ok());
    drop(server);
    let error = silent.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun), "{error}");
    assert!(error.to_string().contains("after 0 items") && silent.next().await.is_none(), "{error}");
    let error = loop {
        if let Err(error) = noted.next().await.expect("no end but an error") {
            break error;
        }
    };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun), "{error}");
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

/// What is made of a streaming method goes to other tasks, and is polled where it is.
#[test]
fn streams_are_send_and_unpin() {
    fn check<T: Send + Unpin + 'static>(_: impl FnOnce(StreamsPeer) -> T) {}
    fn halves<S: Send + 'static, R: Send + Unpin + 'static>(_: impl FnOnce(StreamsPeer) -> (S, R)) {}
    check(|peer| peer.count(1));
    check(|peer| peer.watch(String::new()));
    check(|peer| peer.upload(String::new(), stream::empty()));
    check(|peer| peer.echo());
    check::<Streaming<std::rc::Rc<u8>>>(|_| unreachable!());
    halves(|peer| peer.echo().into_split());
    check(|peer| Box::pin(peer.count(1).collect_all()));
}
