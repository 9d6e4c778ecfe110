//! When a connection is asked for a sign of life, and what its silence means.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::upgrade::NegotiationError;

use super::ping::Pinger;
use crate::clock::now;
use crate::peer::{Connection, EarliestTimer, Wanted};

/// A call's own answer may be the sign of life, if it comes within this time.
const SOON: Duration = Duration::from_millis(200);
/// A connection with calls under way is asked after so long a silence.
const SILENCE_IN_CALLS: Duration = Duration::from_secs(2);
/// How long an answer may take before the connection is suspected: so many round trips, within these bounds.
const PATIENCE_TRIPS: u32 = 3;
const LEAST_PATIENCE: Duration = Duration::from_millis(400);
const MOST_PATIENCE: Duration = Duration::from_secs(3);
/// Silence is reported again after each.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// An alarm that is later than this was held up by this process, which may not have read the answer either.
const OWN_STALL: Duration = Duration::from_millis(200);
/// A stream for pings that failed is opened again after this.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// Asks one connection.
pub(super) struct Prober<S> {
    connection: Arc<Connection>,
    /// It is asked after so long a silence, calls or not.
    interval: Option<Duration>,
    stream: Stream<S>,
    /// When to look at how long it has been silent.
    look_at: Option<Instant>,
    /// Somebody waits for a sign of life since then.
    asked: Option<Instant>,
    /// When it was asked for one, and has given none since.
    probed: Option<Instant>,
    /// An answer to it has come.
    answered: bool,
    report_at: Instant,
    alarm: EarliestTimer,
}

enum Stream<S> {
    None { not_before: Instant },
    Opening,
    Open(Pinger<S>),
}

/// What the connection's task is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Open a stream for pings: [`Prober::opened`] or [`Prober::open_failed`] says what came of it.
    Open,
    /// It was asked so long ago and is silent. Said again every half second.
    Silent(Duration),
    /// It has given a sign of life after it had been reported silent.
    Alive,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Prober<S> {
    pub(super) fn new(connection: Arc<Connection>, interval: Option<Duration>) -> Self {
        let now = now();
        Prober {
            connection,
            interval,
            stream: Stream::None { not_before: now },
            look_at: None,
            asked: None,
            // The round-trip time is to be known from the beginning.
            probed: interval.map(|_| now),
            answered: false,
            report_at: now + MOST_PATIENCE,
            alarm: EarliestTimer::default(),
        }
    }

    pub(super) fn opened(&mut self, io: S) {
        let mut pinger = Pinger::new(io);
        if self.probed.is_some() {
            pinger.start();
        }
        self.stream = Stream::Open(pinger);
    }

    /// `refused`: the other end has said that it knows no pings. That is as good a sign of life.
    pub(super) fn open_failed(&mut self, refused: bool) {
        if refused {
            self.connection.note_pinged();
            self.answered = true;
        }
        self.stream = Stream::None { not_before: now() + OPEN_AGAIN };
    }

    /// `in_calls` says if calls of ours are under way on the connection.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, in_calls: impl Fn() -> bool) -> Poll<Step> {
        self.poll_stream(cx);
        loop {
            let now = now();
            match self.connection.take_wanted() {
                Some(Wanted::Soon) => self.look_by(now + SOON, now),
                Some(Wanted::Now) => self.probe(now),
                None => {}
            }
            let answered = std::mem::take(&mut self.answered);
            if self.probed.is_some_and(|probed| answered || self.connection.heard() > probed) {
                (self.probed, self.asked) = (None, None);
                self.look_at = self.silence_allowed(&in_calls).map(|silence| now + silence);
                if self.connection.set_suspected(false) {
                    return Poll::Ready(Step::Alive);
                }
            }
            if let Some(step) = self.ask(now, cx) {
                return Poll::Ready(step);
            }
            if let Some(step) = self.look(now, &in_calls) {
                return Poll::Ready(step);
            }
            if self.alarm.poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) {
        let Stream::Open(pinger) = &mut self.stream else { return };
        match pinger.poll(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(rtt)) => {
                self.connection.note_rtt(rtt);
                self.connection.note_pinged();
                self.answered = true;
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(connection = %self.connection.id(), %error, "a stream for pings has ended");
                self.open_failed(is_refusal(&error));
            }
        }
    }

    fn silence_allowed(&self, in_calls: impl Fn() -> bool) -> Option<Duration> {
        if in_calls() {
            return Some(self.interval.map_or(SILENCE_IN_CALLS, |interval| interval.min(SILENCE_IN_CALLS)));
        }
        self.interval
    }

    fn patience(&self) -> Duration {
        let trips = self.connection.rtt().map_or(MOST_PATIENCE, |rtt| rtt.saturating_mul(PATIENCE_TRIPS));
        trips.clamp(LEAST_PATIENCE, MOST_PATIENCE)
    }

    fn look_by(&mut self, at: Instant, now: Instant) {
        self.asked.get_or_insert(now);
        self.look_at = Some(self.look_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn probe(&mut self, now: Instant) {
        if self.probed.is_none() {
            self.probed = Some(now);
            self.report_at = now + self.patience();
            if let Stream::Open(pinger) = &mut self.stream {
                pinger.start();
            }
        }
    }

    /// See to it that a ping is under way while one is wanted.
    fn ask(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<Step> {
        self.probed?;
        match &mut self.stream {
            Stream::Open(pinger) => {
                pinger.start();
                self.poll_stream(cx);
                if self.answered || matches!(self.stream, Stream::None { .. }) {
                    self.alarm.not_after(now);
                }
                None
            }
            Stream::Opening => None,
            Stream::None { not_before } if *not_before <= now => {
                self.stream = Stream::Opening;
                Some(Step::Open)
            }
            Stream::None { not_before } => {
                let at = *not_before;
                self.alarm.not_after(at);
                None
            }
        }
    }

    fn look(&mut self, now: Instant, in_calls: impl Fn() -> bool) -> Option<Step> {
        if let Some(probed) = self.probed {
            if now < self.report_at {
                self.alarm.not_after(self.report_at);
                return None;
            }
            let late = now - self.report_at > OWN_STALL;
            self.report_at = now + if late { self.patience() } else { REPORT_EVERY };
            self.alarm.not_after(self.report_at);
            if late {
                return None;
            }
            self.connection.set_suspected(true);
            return Some(Step::Silent(now.saturating_duration_since(probed)));
        }
        if self.look_at.is_none() && in_calls() {
            // Streams have no deadline whose passing would ask.
            self.look_at = self.silence_allowed(&in_calls).map(|silence| now + silence);
        }
        let at = self.look_at?;
        if now >= at {
            let heard = self.connection.heard();
            let unanswered = self.asked.take().is_some_and(|asked| heard <= asked);
            self.look_at = self.silence_allowed(in_calls).map(|silence| heard + silence);
            if unanswered || self.look_at.is_some_and(|at| at <= now) {
                self.probe(now);
                // It is asked at once: the alarm only brings the task back here.
                self.alarm.not_after(now);
                return None;
            }
        }
        if let Some(at) = self.look_at {
            self.alarm.not_after(at);
        }
        None
    }
}

/// The other end answered that it doesn't speak the protocol. Lazily negotiated, that comes with the first read.
fn is_refusal(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<NegotiationError>());
    matches!(inner, Some(NegotiationError::Failed))
}
