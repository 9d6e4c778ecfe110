//! Members that come and go all the time: each coming is news to all who ask us, and makes them dial.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashlink::LruCache;
use libp2p::PeerId;

use super::key::Topic;
use super::messages::Listed;

/// One that comes so often within a minute is no news to others for a while.
const MAX_JOINS: u32 = 3;
const JOINS_WITHIN: Duration = Duration::from_secs(60);
/// How long it is no news.
const NO_NEWS_FOR: Duration = Duration::from_secs(300);
/// So many members' comings are counted.
const MAX_COUNTED: usize = 4096;

/// A member that is here and is no news.
#[derive(Debug)]
pub(super) struct Unsteady {
    until: Instant,
    pub(super) topics: Arc<[Topic]>,
    pub(super) listed: Listed,
}

#[derive(Debug)]
struct Joins {
    since: Instant,
    count: u32,
    no_news_until: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Flapping {
    joins: LruCache<PeerId, Joins>,
    here: HashMap<PeerId, Unsteady>,
}

impl Default for Flapping {
    fn default() -> Self {
        Flapping { joins: LruCache::new(MAX_COUNTED), here: HashMap::new() }
    }
}

impl Flapping {
    /// A member came. True if that is no news to others: then it is kept here.
    pub(super) fn came(&mut self, peer: PeerId, topics: &Arc<[Topic]>, listed: &Listed, now: Instant) -> bool {
        let joins = self.joins.entry(peer).or_insert_with(|| Joins { since: now, count: 0, no_news_until: None });
        if now.saturating_duration_since(joins.since) >= JOINS_WITHIN {
            (joins.since, joins.count) = (now, 0);
        }
        joins.count = joins.count.saturating_add(1);
        if joins.count >= MAX_JOINS {
            joins.no_news_until = Some(now + NO_NEWS_FOR);
        }
        let Some(until) = joins.no_news_until.filter(|until| now < *until) else { return false };
        self.here.insert(peer, Unsteady { until, topics: topics.clone(), listed: listed.clone() });
        true
    }

    /// What is known of one that is kept here has changed. False if it isn't.
    pub(super) fn update(&mut self, peer: &PeerId, topics: &Arc<[Topic]>, listed: &Listed) -> bool {
        let Some(unsteady) = self.here.get_mut(peer) else { return false };
        (unsteady.topics, unsteady.listed) = (topics.clone(), listed.clone());
        true
    }

    pub(super) fn went(&mut self, peer: &PeerId) {
        self.here.remove(peer);
    }

    /// Those that have stayed.
    pub(super) fn settled(&mut self, now: Instant) -> Vec<(PeerId, Unsteady)> {
        let settled: Vec<PeerId> = self.here.iter().filter(|(_, it)| it.until <= now).map(|(peer, _)| *peer).collect();
        settled.into_iter().filter_map(|peer| self.here.remove_entry(&peer)).collect()
    }

    pub(super) fn here(&self) -> impl Iterator<Item = (&PeerId, &Unsteady)> {
        self.here.iter()
    }
}
