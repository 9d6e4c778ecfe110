//! A link that takes its time, and sometimes longer: it takes TCP connections and UDP datagrams at one address and passes them on to another.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::node::{millis, parsed, say};

/// Pieces that are under way in one direction of a connection.
const UNDER_WAY: usize = 1024;

/// Bytes, and when they were sent.
type Piece = (Instant, Vec<u8>);

#[derive(Clone)]
struct Link {
    delay: Duration,
    /// Nothing arrives before that.
    stalled_until: watch::Receiver<Instant>,
    /// How often all connections were forgotten.
    forgotten: watch::Receiver<u64>,
}

impl Link {
    /// Waits until what was sent then arrives.
    async fn arrival(&self, sent: Instant) {
        tokio::time::sleep_until(sent + self.delay).await;
        loop {
            let stalled_until = *self.stalled_until.borrow();
            if Instant::now() >= stalled_until {
                return;
            }
            tokio::time::sleep_until(stalled_until).await;
        }
    }
}

/// `FROM TO DELAY`: both with a port, the delay of each direction in milliseconds.
///
/// Lines on the standard input: `stall MILLISECONDS` makes it stand still so long. After `forget` nothing that belongs to
/// a connection of before arrives, and no end is told.
pub(crate) async fn link(arguments: Vec<String>) -> Result<(), String> {
    let [from, to, delay] = &arguments[..] else { return Err("from, to, delay".into()) };
    let (from, to): (SocketAddr, SocketAddr) = (parsed(from)?, parsed(to)?);
    let (stall, stalled_until) = watch::channel(Instant::now());
    let (forget, forgotten) = watch::channel(0);
    let link = Link { delay: millis(delay)?, stalled_until, forgotten };
    let listener = TcpListener::bind(from).await.map_err(|error| error.to_string())?;
    let socket = UdpSocket::bind(from).await.map_err(|error| error.to_string())?;
    tokio::spawn(streams(listener, to, link.clone()));
    tokio::spawn(datagrams(Arc::new(socket), to, link));
    say("started", json!({"peer": "", "addresses": []}));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match line.split_once(' ') {
            Some(("stall", time)) => {
                stall.send_replace(Instant::now() + millis(time)?);
            }
            None if line == "forget" => forget.send_modify(|times| *times += 1),
            _ => return Err(format!("{line}: what is that?")),
        }
    }
    std::process::exit(0)
}

async fn streams(listener: TcpListener, to: SocketAddr, link: Link) {
    while let Ok((near, _)) = listener.accept().await {
        let link = link.clone();
        tokio::spawn(async move {
            // Whoever dialled sees its connection end.
            let Ok(far) = TcpStream::connect(to).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let mut forgotten = link.forgotten.clone();
            forgotten.mark_unchanged();
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            let (forth, back) = (one_way(from_near, to_far, &link), one_way(from_far, to_near, &link));
            let (mut forth, mut back) = (pin!(forth), pin!(back));
            let forgot = tokio::select! {
                _ = async { tokio::join!(&mut forth, &mut back) } => false,
                changed = forgotten.changed() => changed.is_ok(),
            };
            if forgot {
                // Both sockets stay open, and nobody reads from them.
                std::future::pending::<()>().await;
            }
        });
    }
}

async fn one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, link: &Link) {
    let (sender, mut arriving) = mpsc::channel::<Piece>(UNDER_WAY);
    let take = async move {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now(), buffer[..length].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let give = async move {
        while let Some((sent, bytes)) = arriving.recv().await {
            link.arrival(sent).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // The other end may be gone before it hears of it.
        let _ = to.shutdown().await;
    };
    tokio::join!(take, give);
}

/// A socket at the far side for each address at the near one.
async fn datagrams(near: Arc<UdpSocket>, to: SocketAddr, link: Link) {
    let mut known: HashMap<SocketAddr, mpsc::Sender<Piece>> = HashMap::new();
    let mut buffer = vec![0; 2048];
    let mut forgotten = link.forgotten.clone();
    while let Ok((length, from)) = near.recv_from(&mut buffer).await {
        if forgotten.has_changed().unwrap_or(false) {
            // A datagram of an old connection comes from a new port from now on.
            forgotten.mark_unchanged();
            known.clear();
        }
        let forth = match known.entry(from) {
            Entry::Occupied(forth) => forth.into_mut(),
            Entry::Vacant(place) => {
                let Ok(far) = far_socket(to).await else { continue };
                place.insert(open(from, near.clone(), Arc::new(far), &link))
            }
        };
        // What is too much is lost, as on any link.
        let _ = forth.try_send((Instant::now(), buffer[..length].to_vec()));
    }
}

/// Passes on what comes back, and takes what goes forth.
fn open(from: SocketAddr, near: Arc<UdpSocket>, far: Arc<UdpSocket>, link: &Link) -> mpsc::Sender<Piece> {
    let (back, arriving_back) = mpsc::channel(UNDER_WAY);
    tokio::spawn(collect(far.clone(), back, link.forgotten.clone()));
    tokio::spawn(deliver(arriving_back, near, Some(from), link.clone()));
    let (forth, arriving) = mpsc::channel(UNDER_WAY);
    tokio::spawn(deliver(arriving, far, None, link.clone()));
    forth
}

async fn far_socket(to: SocketAddr) -> io::Result<UdpSocket> {
    let far = UdpSocket::bind("0.0.0.0:0").await?;
    far.connect(to).await?;
    Ok(far)
}

async fn collect(from: Arc<UdpSocket>, sender: mpsc::Sender<Piece>, mut forgotten: watch::Receiver<u64>) {
    forgotten.mark_unchanged();
    let mut buffer = vec![0; 2048];
    loop {
        let received = tokio::select! {
            received = from.recv(&mut buffer) => received,
            // The socket stays open: a closed one would tell the sender so.
            _ = forgotten.changed() => return std::future::pending().await,
        };
        // An error is of one datagram: nobody listens there yet.
        if let Ok(length) = received {
            let _ = sender.try_send((Instant::now(), buffer[..length].to_vec()));
        }
    }
}

async fn deliver(mut arriving: mpsc::Receiver<Piece>, socket: Arc<UdpSocket>, to: Option<SocketAddr>, link: Link) {
    while let Some((sent, datagram)) = arriving.recv().await {
        link.arrival(sent).await;
        let _ = match to {
            Some(to) => socket.send_to(&datagram, to).await,
            None => socket.send(&datagram).await,
        };
    }
}
