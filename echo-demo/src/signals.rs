//! Ctrl-C and its relatives: the first asks to leave, the second doesn't ask.

use std::process;

use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// A program that a signal ended says 128 and the signal's number.
const ENDED_BY_SIGNAL: i32 = 128;

/// From now on the first signal cancels `stop`; the second ends the program, whatever it is busy with.
pub(crate) fn watch(stop: CancellationToken) -> Result<(), Failure> {
    let mut signals =
        Signals::new().map_err(|error| Failure::other(format_args!("signals can't be watched for: {error}")))?;
    tokio::spawn(async move {
        signals.next().await;
        stop.cancel();
        let signal = signals.next().await;
        process::exit(ENDED_BY_SIGNAL + signal);
    });
    Ok(())
}

#[cfg(unix)]
use unix::Signals;

#[cfg(unix)]
mod unix {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    pub(super) struct Signals {
        interrupt: Signal,
        terminate: Signal,
        hangup: Signal,
    }

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Signals {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hangup: signal(SignalKind::hangup())?,
            })
        }

        /// The number of the next one.
        pub(super) async fn next(&mut self) -> i32 {
            let kind = tokio::select! {
                _ = self.interrupt.recv() => SignalKind::interrupt(),
                _ = self.terminate.recv() => SignalKind::terminate(),
                _ = self.hangup.recv() => SignalKind::hangup(),
            };
            kind.as_raw_value()
        }
    }
}

#[cfg(not(unix))]
use other::Signals;

#[cfg(not(unix))]
mod other {
    use std::io;

    pub(super) struct Signals;

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Signals)
        }

        /// The number that Ctrl-C has on Unix.
        pub(super) async fn next(&mut self) -> i32 {
            // Without a way to be told there is nothing to wait for.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            2
        }
    }
}
