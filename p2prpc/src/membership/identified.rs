//! What a peer says of itself through identify: its protocols, and where it listens.

use std::time::Instant;

use libp2p::{Multiaddr, StreamProtocol};

use super::bucket::{Bucket, Rate};

/// What a peer says of itself is taken so often at once, and then every five seconds. Of what comes before that the last word
/// is taken, when its time has come: each costs others too, who are told where their members are.
pub(super) const SAID_OF_ITSELF: Rate = Rate { burst: 4.0, a_second: 0.2 };

#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) listen_addresses: Vec<Multiaddr>,
    pub(super) protocols: Vec<StreamProtocol>,
}

/// What one connected peer has said, and how often.
#[derive(Debug)]
pub(super) struct Heard {
    leave: Bucket,
    waiting: Option<Said>,
}

impl Heard {
    pub(super) fn new(now: Instant) -> Self {
        Heard { leave: Bucket::full(SAID_OF_ITSELF, now), waiting: None }
    }

    /// What is to be taken now of it.
    pub(super) fn say(&mut self, said: Said, now: Instant) -> Option<Said> {
        self.waiting = Some(said);
        self.due(now)
    }

    pub(super) fn due(&mut self, now: Instant) -> Option<Said> {
        if self.waiting.is_none() || !self.leave.has_one(now) {
            return None;
        }
        self.leave.take();
        self.waiting.take()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn said(port: u16) -> Said {
        let address = format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap();
        Said { listen_addresses: vec![address], protocols: Vec::new() }
    }

    #[test]
    fn of_many_words_a_few_are_taken_at_once_and_the_last_one_in_the_end() {
        let mut now = Instant::now();
        let mut heard = Heard::new(now);
        assert_eq!((0..1000).filter(|port| heard.say(said(*port), now).is_some()).count(), 4);
        let mut taken = Vec::new();
        for _ in 0..80 {
            now += Duration::from_millis(250);
            taken.extend(heard.due(now));
        }
        let addresses: Vec<_> = taken.into_iter().flat_map(|said| said.listen_addresses).collect();
        assert_eq!(addresses, said(999).listen_addresses);
        assert!(heard.say(said(1), now).is_some(), "and later ones at once");
    }
}
