//! Why a dial failed, in words for the user.

use std::error::Error;
use std::io;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::DialError;
use libp2p::{Multiaddr, PeerId, TransportError};

use super::error::ConnectError;
use super::staggered::{DialFailure, bare};
use crate::printable::{cut, printable};

/// In a few words, without those that libp2p's own layers put around the cause.
pub(super) fn reason(error: &DialError) -> String {
    match error {
        DialError::NoAddresses => "no address of the peer is known".into(),
        DialError::LocalPeerId { .. } => "this node itself answered".into(),
        DialError::WrongPeerId { obtained, .. } => format!("another peer answered, {obtained}"),
        DialError::DialPeerConditionFalse(_) => "another attempt is under way".into(),
        DialError::Aborted => "the attempt was stopped".into(),
        DialError::Denied { .. } => root(error),
        DialError::Transport(_) => {
            let mut words: Vec<String> = Vec::new();
            for (_, reason) in reasons(error) {
                if !words.contains(&reason) {
                    words.push(reason);
                }
            }
            words.join(", ")
        }
    }
}

/// Each address that was tried, and how it failed.
pub(super) fn reasons(error: &DialError) -> Vec<(Multiaddr, String)> {
    match error {
        DialError::Transport(errors) => errors.iter().map(|(address, error)| (address.clone(), root(error))).collect(),
        DialError::WrongPeerId { address, .. } | DialError::LocalPeerId { address } => {
            vec![(address.clone(), reason(error))]
        }
        _ => Vec::new(),
    }
}

pub(super) fn connect_error(address: Multiaddr, error: &DialError) -> ConnectError {
    match error {
        // The swarm leaves out addresses that it listens on itself.
        DialError::LocalPeerId { .. } | DialError::NoAddresses => ConnectError::Own { address },
        DialError::Denied { .. } => ConnectError::Refused { address, reason: reason(error) },
        DialError::Transport(errors) => {
            let of_address = errors.iter().find(|(at, _)| bare(at) == bare(&address)).map(|(_, error)| error);
            match (of_address, address.iter().last()) {
                (Some(failure), Some(Protocol::P2p(expected))) => match wrong_peer(failure) {
                    Some(found) => ConnectError::WrongPeer { address, expected, found },
                    None => ConnectError::Unreachable { address, reason: root(failure) },
                },
                (Some(failure), _) => ConnectError::Unreachable { address, reason: root(failure) },
                (None, _) => ConnectError::Unreachable { address, reason: reason(error) },
            }
        }
        _ => ConnectError::Unreachable { address, reason: reason(error) },
    }
}

/// Who was there instead.
fn wrong_peer(error: &TransportError<io::Error>) -> Option<PeerId> {
    let TransportError::Other(error) = error else { return None };
    match error.get_ref()?.downcast_ref() {
        Some(DialFailure::WrongPeer(peer)) => Some(*peer),
        _ => None,
    }
}

/// The innermost cause, made safe to print: a name server or a peer may have had a word in it.
pub(super) fn root(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    printable(cut(&innermost.to_string())).to_string()
}
