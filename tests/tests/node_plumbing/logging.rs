//! What goes wrong at a node is in its own log.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2prpc::prelude::*;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

use super::support::{address, local, soon};

#[p2p_service]
trait Touchy {
    async fn burst(&self);
    async fn secret(&self) -> u8;
}

struct Fuse;

impl Touchy for Fuse {
    async fn burst(&self) {
        panic!("the handler's own fault");
    }

    async fn secret(&self) -> u8 {
        7
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Waits for a line with all of these in it.
    async fn has(&self, words: &[&str]) {
        let is_there = async {
            loop {
                let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
                if text.lines().any(|line| words.iter().all(|word| line.contains(word))) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon(&format!("{words:?} is in the log"), is_there).await;
    }
}

/// On one thread, so that nothing but these two nodes is in the log.
#[tokio::test]
async fn a_panic_a_denial_and_a_lost_connection_are_told_with_the_peer() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::DEBUG).with_ansi(false);
    let _in_use = subscriber.with_writer(move || writer.clone()).finish().set_default();
    let fuse = TouchyServer::new(Fuse).authorize(|call| call.method() != "Secret");
    let server = local().serve(fuse).start().await.unwrap();
    let caller = local().start().await.unwrap();
    soon("it connects", caller.connect(address(&server))).await.unwrap();
    let there = TouchyClient::new(&caller).peer(server.peer_id());
    let peer = format!("peer={}", caller.peer_id());
    assert_eq!(there.burst().await.unwrap_err().kind(), ErrorKind::Panicked);
    log.has(&["WARN", "a handler panicked", &peer, "Touchy.Burst"]).await;
    assert_eq!(there.secret().await.unwrap_err().kind(), ErrorKind::NotServed);
    log.has(&["a call was denied", &peer, "Touchy.Secret"]).await;
    server.block(caller.peer_id());
    log.has(&["a connection was closed", &peer]).await;
    let _ = caller.connect(address(&server)).await.unwrap_err();
    log.has(&["an inbound connection failed", "the peer is blocked", &caller.peer_id().to_string()]).await;
}
