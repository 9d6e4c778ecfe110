//! A link that is long: 50 ms there and back, and 1 Gbit/s each way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const ONE_WAY: Duration = Duration::from_millis(25);
/// 1 Gbit/s.
pub const BYTES_A_SECOND: f64 = 125e6;

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // More than the link holds.
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    tokio::spawn(async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due.into()).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut free = Instant::now();
    loop {
        let mut bytes = vec![0; 16 * 1024];
        match from.read(&mut bytes).await {
            Ok(n @ 1..) => {
                bytes.truncate(n);
                free = free.max(Instant::now()) + Duration::from_secs_f64(n as f64 / BYTES_A_SECOND);
                // Timers are no finer than a millisecond.
                if free > Instant::now() + Duration::from_millis(2) {
                    tokio::time::sleep_until(free.into()).await;
                }
                if sender.send((free + ONE_WAY, bytes)).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

/// Where what listens there is far away.
pub async fn link(to: SocketAddr) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(to).await else { continue };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_reads, near_writes), (far_reads, far_writes)) = (near.into_split(), far.into_split());
            tokio::spawn(carry(near_reads, far_writes));
            tokio::spawn(carry(far_reads, near_writes));
        }
    });
    Ok(address)
}
