//! What is known of a member, and which members may be kept connected.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use libp2p::Multiaddr;

use super::key::Topic;
use crate::members::Member;
use crate::prefix::Prefix;

/// Of the members that are kept connected this part, in public networks, may be of one prefix (a quarter),
const PINNED_OF_A_PREFIX: usize = 4;
/// and this one such as we haven't dialled (half).
const PINNED_UNDIALLED: usize = 2;

#[derive(Debug)]
pub(super) struct Membership {
    pub(super) member: Member,
    pub(super) topics: Arc<[Topic]>,
    /// It is one of those that are kept connected.
    pub(super) pinned: bool,
    pub(super) addresses: Vec<Multiaddr>,
    /// Where the last connection to it went, as far as that is an IP.
    pub(super) seen_at: Option<IpAddr>,
    /// It is a Go peer: it can't be asked anything.
    pub(super) gorpc: bool,
    /// We have dialled it, and it was there.
    pub(super) dialled: bool,
}

/// How many of the members that are kept connected are of which kind.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) all: usize,
    of_prefix: HashMap<Prefix, usize>,
    undialled: usize,
}

impl Kept {
    pub(super) fn add(&mut self, member: &Membership) {
        self.all += 1;
        if let Some(prefix) = member.prefix() {
            *self.of_prefix.entry(prefix).or_default() += 1;
            self.undialled += usize::from(!member.dialled);
        }
    }

    /// For one more, of `most`? In public networks at most a quarter are of one prefix, and at most half are such as came to us and weren't
    /// dialled: whoever has many addresses must not become all that we know.
    pub(super) fn has_room(&self, member: &Membership, most: usize) -> bool {
        let share = |part: usize| (most / part).max(1);
        let fits = member.prefix().is_none_or(|prefix| {
            self.of_prefix.get(&prefix).copied().unwrap_or_default() < share(PINNED_OF_A_PREFIX)
                && (member.dialled || self.undialled < share(PINNED_UNDIALLED))
        });
        self.all < most && fits
    }
}

impl Membership {
    pub(super) fn prefix(&self) -> Option<Prefix> {
        self.seen_at.and_then(Prefix::of)
    }
}

/// How a member went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// It said so.
    Polite,
    /// Without a word: it may come back.
    Vanished,
    /// It isn't one of us any more, or we don't want it.
    Unwanted,
}
