//! How much one peer may have under way, and all of them together.

use std::time::Duration;

/// The limits of a node. Each has a default; each is kept over all connections of a peer.
///
/// A limit that is raised past its default raises those that would hold before it does: `max_message` raises
/// `max_bytes_per_peer` to itself and `max_bytes` to four times itself, `max_calls_per_peer` raises `max_calls` to 16 times
/// itself, unless that was lowered. One that isn't holds as far as these others let it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Limits {
    /// The largest body of one request or one reply, in bytes. Default 4 MiB. A larger one fails as
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge); a peer's own limit holds too.
    pub max_message: usize,
    /// Calls of one peer that may be in flight here, and of ours at one peer. Default 1,024. Past it a call fails as
    /// [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded) at once, never run.
    pub max_calls_per_peer: usize,
    /// Bytes of bodies in flight from one peer, and to one peer. Default 64 MiB. Past it senders wait, within their deadline. As many
    /// bytes of replies again may wait here for room; past that a call ends as `Overloaded`, although its handler has answered.
    /// A peer has no more than 1/16 of [`max_bytes`](Limits::max_bytes), or one body of
    /// [`max_message`](Limits::max_message) if that is more, whatever stands here.
    pub max_bytes_per_peer: usize,
    /// Calls of all peers that may be in flight here. Default 16,384. Past it, or past 1/16 of it (256 at least) for one
    /// peer, or 1/4 of it for one public IP prefix (v4 /24, v6 /56), a call fails as `Overloaded`, never run. A call whose
    /// body is still coming counts for its peer, and for all peers once it is whole.
    pub max_calls: usize,
    /// Bytes of bodies in flight from all peers, and to all peers: requests that come and that go, and replies that come and
    /// that go, are counted apart. A body that comes is counted as it comes, not as it is announced. Default 1 GiB. One
    /// public IP prefix has at most 1/4 of what comes and goes as a server. Past it a
    /// request fails as `Overloaded`, never run, and a reply to us as `Overloaded`, answered; our own senders wait. The last
    /// reply before the limit may go past it.
    pub max_bytes: usize,
    /// The longest a handler may run, whatever deadline its caller sent or didn't. Default 1 h. Past it: `DeadlineExceeded`.
    #[cfg_attr(feature = "serde", serde(with = "crate::durations"))]
    pub max_deadline: Duration,
}

/// One peer has at most such a part of all calls.
const SHARE_OF_A_PEER: usize = 16;
/// One public IP prefix has at most such a part of all calls and bytes.
const SHARE_OF_A_PREFIX: usize = 4;
/// How the limit on one body is named where one is larger.
pub(crate) const MESSAGE_LIMIT: &str = "Limits::max_message, or Limits::max_bytes_per_peer if that is less";

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_message: 4 << 20,
            max_calls_per_peer: 1024,
            max_bytes_per_peer: 64 << 20,
            max_calls: 16_384,
            max_bytes: 1 << 30,
            max_deadline: Duration::from_secs(3600),
        }
    }
}

impl Limits {
    /// These limits, with no limit that was raised and that another would keep from holding.
    pub(crate) fn settled(mut self) -> Self {
        let defaults = Limits::default();
        if self.max_message > defaults.max_message {
            self.max_bytes_per_peer = self.max_bytes_per_peer.max(self.max_message);
            self.max_bytes = self.max_bytes.max(self.max_message.saturating_mul(SHARE_OF_A_PREFIX));
        }
        if self.max_bytes_per_peer > defaults.max_bytes_per_peer {
            self.max_bytes = self.max_bytes.max(self.max_bytes_per_peer);
        }
        if self.max_calls_per_peer > defaults.max_calls_per_peer && self.max_calls >= defaults.max_calls {
            self.max_calls = self.max_calls.max(self.max_calls_per_peer.saturating_mul(SHARE_OF_A_PEER));
        }
        self.max_message = self.max_message.min(self.max_bytes_per_peer).min(self.max_bytes);
        self
    }

    /// The calls that one peer may have in flight, by its own limit and by its share of all.
    pub(crate) fn calls_of_a_peer(&self) -> usize {
        self.max_calls_per_peer.min((self.max_calls / SHARE_OF_A_PEER).max(256)).max(1)
    }

    /// The calls that one public IP prefix may have in flight.
    pub(crate) fn calls_of_a_prefix(&self) -> usize {
        (self.max_calls / SHARE_OF_A_PREFIX).max(256)
    }

    /// The bytes that one public IP prefix may have in flight.
    pub(crate) fn bytes_of_a_prefix(&self) -> usize {
        self.max_bytes / SHARE_OF_A_PREFIX
    }

    /// The bytes that one peer may have in flight, by its own limit and by its share of all. The largest body fits always.
    pub(crate) fn bytes_of_a_peer(&self) -> usize {
        self.max_bytes_per_peer.min((self.max_bytes / 16).max(self.max_message))
    }
}
