//! Why a dial failed, in words for the user.

use std::error::Error;

use libp2p::Multiaddr;
use libp2p::swarm::DialError;

use super::error::ConnectError;
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
        DialError::Transport(errors) => {
            let mut reasons: Vec<String> = Vec::new();
            for (_, error) in errors {
                let reason = root(error);
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
            reasons.join(", ")
        }
    }
}

pub(super) fn connect_error(address: Multiaddr, error: DialError) -> ConnectError {
    match error {
        // The swarm leaves out addresses that it listens on itself.
        DialError::LocalPeerId { .. } | DialError::NoAddresses => ConnectError::Own { address },
        DialError::WrongPeerId { obtained, .. } => match address.iter().last() {
            Some(libp2p::multiaddr::Protocol::P2p(expected)) => {
                ConnectError::WrongPeer { address, expected, found: obtained }
            }
            _ => ConnectError::Unreachable { address, reason: reason(&error) },
        },
        DialError::Denied { .. } => ConnectError::Refused { address, reason: reason(&error) },
        _ => ConnectError::Unreachable { address, reason: reason(&error) },
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
