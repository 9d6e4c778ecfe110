//! Calls that are made all the time, and how long they failed.

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::Duration;

use super::MARGIN;
use super::agent::{Agent, CALL_TIMEOUT, Called, Connection};
use super::canary::was_busy;
use super::node::now;

/// They have to go on working for so long.
const STEADY: Duration = Duration::from_secs(10);

/// One calls the other, all the time.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) from: &'a Agent,
    pub(crate) to: &'a Agent,
}

/// Calls between each two, both ways, from now on.
pub(crate) fn watch<'a>(pairs: &[(&'a Agent, &'a Agent)]) -> Vec<Way<'a>> {
    let both = pairs.iter().flat_map(|&(one, other)| [Way { from: one, to: other }, Way { from: other, to: one }]);
    let ways: Vec<Way<'a>> = both.collect();
    for way in &ways {
        way.from.watch(&way.to.peer);
    }
    ways
}

impl Way<'_> {
    fn name(&self) -> String {
        format!("{} calls {}", self.from.name, self.to.name)
    }

    /// Without those that failed while the machine was too busy.
    fn calls(&self, since: u64) -> Vec<Called> {
        let calls = self.from.calls(&self.to.peer).into_iter().filter(|call| call.begun >= since);
        calls.filter(|call| call.result.is_ok() || !was_busy(call.begun, call.ended)).collect()
    }
}

/// All calls since `since`, as many as there are, must have been answered.
pub(crate) fn assert_undisturbed(ways: &[Way<'_>], since: u64) {
    for way in ways {
        let calls = way.calls(since);
        assert!(!calls.is_empty(), "{}: no call has ended", way.name());
        let picture = picture(&calls, since);
        assert!(calls.iter().all(|call| call.result.is_ok()), "{} all the time, but {picture}", way.name());
    }
}

/// Waits until calls work both ways, and for a while more.
pub(crate) fn settle(ways: &[Way<'_>]) {
    let since = now();
    let settled = super::agent::until(Duration::from_secs(30), || {
        ways.iter().all(|way| {
            let calls = way.calls(since);
            calls.len() >= 4 && calls.iter().rev().take(4).all(|call| call.result.is_ok())
        })
    });
    let calls = || ways.iter().map(|way| format!("{} {}", way.name(), picture(&way.calls(since), since)));
    assert!(settled.is_some(), "nothing is broken yet, but {}", calls().collect::<Vec<_>>().join("; "));
}

/// Watches the calls that are begun after `since`, and says when each way worked again and went on to do so.
///
/// Panics if that took longer than `goal` and the margin of a loaded machine, or didn't last.
pub(crate) fn judge(ways: &[Way<'_>], since: u64, goal: Duration) -> String {
    judge_with(ways, since, goal, MARGIN)
}

pub(crate) fn judge_with(ways: &[Way<'_>], since: u64, goal: Duration, margin: Duration) -> String {
    let end = since + millis(goal + margin + STEADY);
    // Those that were begun last must have ended.
    sleep(Duration::from_millis(end.saturating_sub(now())) + CALL_TIMEOUT);
    let mut said = String::new();
    let mut good = true;
    for way in ways {
        let calls: Vec<Called> = way.calls(since).into_iter().filter(|call| call.begun <= end).collect();
        let back = back(&calls, since);
        let in_time = back.is_some_and(|back| back <= goal + margin);
        good &= in_time;
        let when = match back {
            Some(back) => format!("{:.1} s", back.as_secs_f64()),
            None => "never".into(),
        };
        let _ = write!(said, "{}{}: {when}", if said.is_empty() { "" } else { "; " }, way.name());
        if !in_time {
            let connections = way.from.connections(&way.to.peer);
            let connections: Vec<String> = connections.iter().map(Connection::to_string).collect();
            let _ = write!(said, " ({}; over [{}])", picture(&calls, since), connections.join(", "));
        }
    }
    assert!(good, "back within {goal:?} and {margin:?} for a loaded machine? {said}");
    said
}

/// From `since` to the first answer of those that no failure follows.
pub(crate) fn back(calls: &[Called], since: u64) -> Option<Duration> {
    let failed = calls.iter().rposition(|call| call.result.is_err()).map_or(0, |last| last + 1);
    let first = calls.get(failed..)?.iter().map(|call| call.ended).min()?;
    Some(Duration::from_millis(first.saturating_sub(since)))
}

/// A dot for each call that was answered, a letter for each that failed, and the first failures in words.
pub(crate) fn picture(calls: &[Called], since: u64) -> String {
    let mark = |call: &Called| match &call.result {
        Ok(_) => '.',
        Err(error) => error.chars().next().unwrap_or('?'),
    };
    let mut picture: String = calls.iter().map(mark).collect();
    let mut told: Vec<&str> = Vec::new();
    for call in calls {
        let Err(error) = &call.result else { continue };
        if !told.contains(&error.as_str()) && told.len() < 3 {
            told.push(error);
            let _ = write!(picture, ", {} ms: {error}", call.begun.saturating_sub(since));
        }
    }
    picture
}

pub(crate) fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().expect("it is short")
}
