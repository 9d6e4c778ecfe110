//! However calls end, nothing of them is left. Both ends are driven at random, from seeds.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{sleep, timeout};

use super::peer::{Got, request};
use super::service::encoded;
use super::*;
use crate::error::ErrorKind;
use crate::wire::{self, Delivery, ErrorCode, Frame, GoAwayReason, Hello};

fn limits() -> Limits {
    Limits {
        max_message: 256 << 10,
        max_calls_per_peer: 24,
        max_bytes_per_peer: 1 << 20,
        max_bytes: 2 << 20,
        max_deadline: Duration::from_secs(20),
        ..Limits::default()
    }
}

fn pipe(random: &mut StdRng) -> usize {
    [1 << 10, 16 << 10, 64 << 10, 4 << 20][random.random_range(0..4)]
}

fn len(random: &mut StdRng) -> usize {
    [0, 10, 1_000, 20_000, 100_000, 300_000][random.random_range(0..6)]
}

fn time(random: &mut StdRng) -> Duration {
    Duration::from_millis([0, 1, 10, 500, 3_000, 12_000][random.random_range(0..6)])
}

/// A caller that does anything that isn't against the rules, and at last something that is.
struct Caller {
    peer: Peer,
    last_id: u64,
    /// What is missing of bodies that have begun.
    begun: Vec<(u64, usize)>,
}

impl Caller {
    fn new(peer: Peer) -> Self {
        Caller { peer, last_id: 0, begun: Vec::new() }
    }

    async fn act(&mut self, random: &mut StdRng) {
        match random.random_range(0..12) {
            0..6 => self.call(random).await,
            6 => {
                let id = random.random_range(0..=self.last_id);
                if id > 0 {
                    self.begun.retain(|(begun, _)| *begun != id);
                    self.peer.send(Frame::Cancel { id }).await;
                }
            }
            7..9 => self.go_on(random).await,
            9 => sleep(time(random)).await,
            _ => {
                for _ in 0..random.random_range(0..20) {
                    let _ = timeout(Duration::from_millis(2), self.peer.answer()).await;
                }
            }
        }
    }

    async fn call(&mut self, random: &mut StdRng) {
        self.last_id += random.random_range(1..3);
        let methods = ["Echo", "Wait", "Big", "Later", "Fail", "Panic", "Reluctant", "Nothing"];
        let method = methods[random.random_range(0..methods.len())];
        let size = len(random);
        let body = match method {
            "Big" | "Later" => encoded(&u32::try_from(size).unwrap()),
            _ if random.random_range(0..10) == 0 => vec![0xff; size],
            _ => encoded(&"x".repeat(size)),
        };
        let first = random.random_range(0..=body.len().min(wire::MAX_CHUNK));
        let deadline = random.random_bool(0.5).then(|| time(random));
        let frame = request(self.last_id, &format!("Probe.{method}"), deadline, body.len() as u64, &body[..first]);
        self.peer.send_bytes(&frame).await;
        if first < body.len() {
            self.begun.push((self.last_id, body.len() - first));
        }
    }

    async fn go_on(&mut self, random: &mut StdRng) {
        if self.begun.is_empty() {
            return;
        }
        let at = random.random_range(0..self.begun.len());
        let (id, missing) = &mut self.begun[at];
        let n = (*missing).min(random.random_range(1..=wire::MAX_CHUNK));
        self.peer.send(Frame::Body { id: *id, chunk: &vec![b'x'; n] }).await;
        *missing -= n;
        if *missing == 0 {
            self.begun.remove(at);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_the_calls_of_others() {
    for seed in 0..80 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut served = Served::with_pipe(limits(), pipe(random));
        let mut other = Caller::new(served.another(pipe(random)));
        let (nothing, _) = tokio::io::duplex(1);
        let mut first = Caller::new(std::mem::replace(&mut served.peer, Peer::new(nothing)));
        first.peer.hello().await;
        other.peer.hello().await;
        for _ in 0..random.random_range(1..80) {
            let caller = if random.random_bool(0.5) { &mut first } else { &mut other };
            caller.act(random).await;
            let (calls, bytes, replies) = served.account.in_use();
            assert!(calls <= 24 && bytes <= 1 << 20, "seed {seed}: {calls} calls, {bytes} bytes");
            assert!(replies <= 2 * (1 << 20) + (256 << 10), "seed {seed}: {replies} bytes of replies");
        }
        if random.random_bool(0.2) {
            served.stream.go_away(GoAwayReason::Replaced);
        }
        match random.random_range(0..4) {
            0 => first.peer.send_bytes(&[0]).await,
            1 => first.peer.send(Frame::Cancel { id: u64::MAX }).await,
            2 => drop(first),
            _ => sleep(Duration::from_secs(70)).await,
        }
        drop(other);
        sleep(Duration::from_secs(70)).await;
        assert_eq!(served.account.in_use(), (0, 0, 0), "seed {seed}");
        assert_eq!(served.probe.alive(), 0, "seed {seed}");
        assert!(!served.stream.has_work(), "seed {seed}");
    }
}

/// A server that answers any way it likes, and keeps to the rules more often than not.
async fn serve(mut peer: Peer, mut random: StdRng) {
    let random = &mut random;
    if random.random_bool(0.9) {
        let bytes = [65_536, 200_000, 64 << 20][random.random_range(0..3)];
        let (max_calls, max_message) = (random.random_range(1..40), 65_536 << random.random_range(0..3));
        let hello = Hello { max_calls, max_message, max_bytes_in_flight: bytes, ..Hello::default() };
        peer.send(Frame::Hello(hello)).await;
    }
    let mut last = 0;
    for _ in 0..random.random_range(0..60) {
        if let Ok(Some(Got::Request { id, .. })) = timeout(time(random), peer.answer()).await {
            last = id;
        }
        let id = random.random_range(0..=last);
        if id == 0 {
            continue;
        }
        let size = len(random);
        match random.random_range(0..16) {
            0..6 => peer.respond(id, &vec![1; size.min(wire::MAX_CHUNK)]).await,
            6..8 => {
                peer.send(Frame::Response(wire::Reply {
                    id,
                    metadata: wire::MetadataRef::EMPTY,
                    body_len: size as u64,
                    chunk: &[],
                }))
                .await;
                for chunk in vec![1; size].chunks(wire::MAX_CHUNK) {
                    peer.send(Frame::Body { id, chunk }).await;
                }
            }
            8 => {
                peer.send(Frame::Response(wire::Reply {
                    id,
                    metadata: wire::MetadataRef::EMPTY,
                    body_len: size as u64 + 1,
                    chunk: &[],
                }))
                .await
            }
            9..11 => {
                let (code, delivery) = (ErrorCode::from(random.random_range(2..14)), Delivery::NeverSent);
                peer.fail(id, code, delivery, "x").await;
            }
            11 => {
                let reason = GoAwayReason::from(random.random_range(1..7));
                peer.send(Frame::GoAway { last_call_id: id, reason, message: "" }).await;
            }
            12 => sleep(time(random)).await,
            13 if random.random_bool(0.2) => peer.send_bytes(&[9; 9]).await,
            14 if random.random_bool(0.2) => return,
            _ => {}
        }
    }
    sleep(time(random)).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_our_own_calls() {
    for seed in 0..80 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut calling = Calling::new(limits());
        let mut calls = Vec::new();
        for _ in 0..random.random_range(1..200) {
            match random.random_range(0..10) {
                0..6 => {
                    let timeout = time(random);
                    calls.push((calling.call(&vec![1; len(random).min(256 << 10)], timeout), false));
                }
                6 => {
                    if !calls.is_empty() {
                        let at = random.random_range(0..calls.len());
                        let (call, cancelled) = &mut calls[at];
                        call.cancel();
                        *cancelled = true;
                    }
                }
                _ => sleep(time(random)).await,
            }
            while let Ok(session) = calling.asked.try_recv() {
                match random.random_range(0..10) {
                    0 => session.open_failed(&RpcError::never_sent(ErrorKind::Unreachable, "")),
                    1 => {}
                    _ => {
                        let (ours, theirs) = tokio::io::duplex(pipe(random));
                        session.attach(&Connection::of_test(1), ours.compat());
                        let random = StdRng::seed_from_u64(random.random());
                        tokio::spawn(serve(Peer::new(theirs), random));
                    }
                }
            }
        }
        sleep(Duration::from_secs(200)).await;
        assert_eq!(calling.session.config().in_use(), (0, 0), "seed {seed}");
        for (n, (call, cancelled)) in calls.iter().enumerate() {
            let ended = timeout(Duration::from_millis(1), call.result()).await.is_ok();
            assert!(ended || *cancelled, "seed {seed}: call {n} never ended");
        }
    }
}
