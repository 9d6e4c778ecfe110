//! Sessions that are cut at each byte, in each way in which a stream can end.

mod fuzz;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::io::Cursor;
use futures::{AsyncRead, AsyncWrite, Stream, StreamExt};
use libp2p::PeerId;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::accounts::Accounts;
use crate::call::{CallDefaults, CallHead, Channel, Found, Handle, OpenedStream, PendingCall, Request};
use crate::framing::{Messages, hello};
use crate::limits::Limits;
use crate::server::{Server, serve_streams};
use crate::service::Streaming;
use crate::{Delivery, p2p_service};

#[p2p_service(crate = "crate")]
trait Cuts {
    async fn items(&self, sizes: Vec<usize>) -> impl Stream<Item = Vec<u8>>;
    async fn take(&self, items: Streaming<Vec<u8>>) -> u64;
}

/// Notes how what was streamed to it has ended.
#[derive(Clone, Default)]
struct Here(Arc<Mutex<Vec<Result<u64, String>>>>);

impl Cuts for Here {
    async fn items(&self, sizes: Vec<usize>) -> impl Stream<Item = Vec<u8>> {
        futures::stream::iter(sizes.into_iter().map(|size| vec![7; size]))
    }

    async fn take(&self, mut items: Streaming<Vec<u8>>) -> u64 {
        let mut come = 0;
        while let Some(item) = items.next().await {
            match item {
                Ok(_) => come += 1,
                Err(error) => {
                    self.0.lock().unwrap().push(Err(error.kind().to_string()));
                    return come;
                }
            }
        }
        self.0.lock().unwrap().push(Ok(come));
        come
    }
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    Fin,
    Reset,
    /// Nothing more comes, and the connection is found to be gone.
    Lost,
}

const CUTS: [Cut; 3] = [Cut::Fin, Cut::Reset, Cut::Lost];

/// What is read from it was recorded, and ends so; what is written is kept.
struct Recorded {
    bytes: Cursor<Vec<u8>>,
    cut: Cut,
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Recorded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.bytes).poll_read(cx, buffer) {
            Poll::Ready(Ok(0)) => match self.cut {
                Cut::Fin => Poll::Ready(Ok(0)),
                Cut::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Cut::Lost => Poll::Pending,
            },
            read => read,
        }
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Opens streams on which this comes.
struct Replay {
    bytes: Vec<u8>,
    cut: Cut,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Channel for Replay {
    fn submit(&self, _: Request<'_>, _: &Arc<PendingCall>) {}

    fn cancel(&self, _: &Arc<PendingCall>) {}

    fn open_stream(&self, _: &CallHead) -> Opening {
        let lost = CancellationToken::new();
        if self.cut == Cut::Lost {
            lost.cancel();
        }
        let io = Recorded { bytes: Cursor::new(self.bytes.clone()), cut: self.cut, written: self.written.clone() };
        let mut greeting = Vec::new();
        crate::wire::encode_hello(&mut greeting, &hello(&Limits::default())).unwrap();
        let opened = OpenedStream {
            io: Box::new(io),
            messages: Messages::default(),
            greeted: false,
            was_greeted: false,
            last_id: 0,
            lost,
            permit: None,
            home: None,
            waker: None,
            hello: greeting.into(),
            max_message: 1 << 20,
        };
        Box::pin(std::future::ready(Ok(opened)))
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) -> bool {
        tokio::spawn(task);
        true
    }
}

/// A client to which this comes, and what it writes.
fn replayed(bytes: &[u8], cut: Cut) -> (Found, Arc<Mutex<Vec<u8>>>) {
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let channel = Arc::new(Replay { bytes: bytes.to_vec(), cut, written: written.clone() });
    let defaults = CallDefaults {
        timeout: Duration::from_secs(10),
        codec: CodecId::default(),
        max_message: Limits::default().max_message,
    };
    (Found { channel, defaults, deadline: None }, written)
}

fn items_call(found: Found, sizes: &[usize]) -> StreamCall<cuts::Items> {
    let mut args = Vec::new();
    crate::codec::encode(CodecId::default(), &(sizes.to_vec(),), &mut args, 1 << 20).unwrap();
    let args = Arguments::Encoded(crate::call::Encoded::natively(args.into()));
    StreamCall::new(Route::Known(found), None, PeerId::random(), args, CallOptions::default())
}

/// What a server answers to what this caller wrote, and how its handlers saw that end.
async fn served(bytes: Vec<u8>, cut: Cut) -> (Vec<u8>, Vec<Result<u64, String>>) {
    let here = Here::default();
    let server = Arc::new(Server::new(PeerId::random(), Limits::default(), Handle::unstarted()));
    server.serve(CutsServer::new(here.clone()).into()).unwrap();
    let account = Accounts::new(Limits::default()).open(PeerId::random(), None);
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let io = Recorded { bytes: Cursor::new(bytes), cut, written: written.clone() };
    let lost = CancellationToken::new();
    let serving = serve_streams(server, account.clone(), PeerId::random(), Arc::default(), io);
    match cut {
        Cut::Lost => {
            // Found out after all that came was taken.
            let gone = lost.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                gone.cancel();
            });
            lost.run_until_cancelled(serving).await;
        }
        _ => serving.await,
    }
    assert_eq!(account.in_use(), (0, 0, 0), "nothing is left");
    let (written, seen) = (written.lock().unwrap().clone(), here.0.lock().unwrap().clone());
    (written, seen)
}

const SIZES: [usize; 5] = [3, 0, 70_000, 1, 200];

#[tokio::test(start_paused = true)]
async fn items_that_are_cut_off_at_any_byte_are_never_taken_for_all() {
    let (found, asked) = replayed(&[], Cut::Fin);
    assert!(items_call(found, &SIZES).collect_all().await.is_err());
    let asked = asked.lock().unwrap().clone();
    let (session, _) = served(asked, Cut::Lost).await;
    for cut in CUTS {
        // All bytes where it matters, and some within the large item.
        let offsets = (0..=session.len()).filter(|at| *at < 300 || at % 1009 == 0 || session.len() - at < 300);
        for at in offsets {
            let (found, _) = replayed(&session[..at], cut);
            let mut call = items_call(found, &SIZES);
            let (mut come, mut failed) = (0, None);
            while let Some(item) = call.next().await {
                match item {
                    Ok(item) => {
                        assert_eq!(item.len(), SIZES[come]);
                        come += 1;
                    }
                    Err(error) => assert!(failed.replace(error).is_none(), "an error comes once"),
                }
            }
            if at == session.len() {
                assert!(failed.is_none() && come == SIZES.len(), "{failed:?}");
                continue;
            }
            let error = failed.unwrap_or_else(|| panic!("{cut:?} at {at} of {} was taken for the end", session.len()));
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::MayHaveRun));
            assert!(error.to_string().contains(&format!("after {come} items")), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn items_to_a_handler_that_are_cut_off_at_any_byte_are_never_taken_for_all() {
    let (found, written) = replayed(&[], Cut::Lost);
    let items = futures::stream::iter(SIZES.map(|size| vec![7; size]));
    let args = crate::codec::decode(CodecId::default(), &[]).unwrap();
    let call = UploadCall::<cuts::Take>::new(
        Route::Known(Found { channel: Arc::new(Patient(found.channel)), ..found }),
        None,
        PeerId::random(),
        args,
        items,
        CallOptions::default(),
    );
    assert!(call.timeout(Duration::from_secs(1)).await.is_err(), "nobody answers");
    let session = written.lock().unwrap().clone();
    let (_, whole) = served(session.clone(), Cut::Lost).await;
    assert_eq!(whole, [Ok(SIZES.len() as u64)]);
    for cut in CUTS {
        let offsets = (0..session.len()).filter(|at| *at < 120 || at % 9973 == 0 || session.len() - at < 300);
        for at in offsets {
            let (_, seen) = served(session[..at].to_vec(), cut).await;
            assert!(seen.iter().all(Result::is_err), "{cut:?} at {at} of {}: {seen:?}", session.len());
        }
    }
}

/// As what is within, but that its connection lasts.
struct Patient(Arc<dyn Channel>);

impl Channel for Patient {
    fn submit(&self, _: Request<'_>, _: &Arc<PendingCall>) {}

    fn cancel(&self, _: &Arc<PendingCall>) {}

    fn open_stream(&self, head: &CallHead) -> Opening {
        let opening = self.0.open_stream(head);
        Box::pin(async move { Ok(OpenedStream { lost: CancellationToken::new(), ..opening.await? }) })
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) -> bool {
        self.0.spawn(task)
    }
}
