//! Why a dial failed, in words for the user.

use std::error::Error;
use std::io::{self, ErrorKind};

use libp2p::multiaddr::Protocol;
use libp2p::swarm::DialError;
use libp2p::{Multiaddr, PeerId, TransportError};

use crate::membership::DialFailure;
use crate::networks::bare;
use crate::networks::ip_of;
use crate::node::error::ConnectError;
use crate::node::net::staggered::DialFailure as AddressFailure;
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

/// What it tells of the peer, and of our own network.
pub(super) fn failure(error: &DialError) -> DialFailure {
    let mut failure = DialFailure { error: reason(error), reasons: reasons(error), ..DialFailure::default() };
    match error {
        DialError::Transport(errors) => {
            let mut untried = Vec::new();
            for (address, error) in errors {
                if let Some(ip) = ip_of(address).filter(|_| has_no_route(error)) {
                    failure.no_route.push(ip);
                    untried.push(address.clone());
                } else if was_not_tried(error) {
                    untried.push(address.clone());
                } else {
                    failure.tried.push(address.clone());
                }
            }
            // Where we can't look ourselves one that isn't where we can is believed not to be either.
            if !failure.tried.is_empty() {
                failure.tried.extend(untried);
            }
        }
        DialError::WrongPeerId { address, .. } => failure.tried.push(address.clone()),
        DialError::Aborted => failure.aborted = true,
        _ => {}
    }
    failure
}

/// Nothing was sent, or nothing on the way knew where to.
fn has_no_route(error: &TransportError<io::Error>) -> bool {
    let kind = io_kind(error);
    matches!(kind, Some(ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::NetworkDown))
}

/// No transport of ours dials it, or it didn't have its turn.
fn was_not_tried(error: &TransportError<io::Error>) -> bool {
    let not_tried = matches!(
        address_failure(error),
        Some(AddressFailure::Unsupported | AddressFailure::Needless | AddressFailure::TooMany)
    );
    not_tried || matches!(error, TransportError::MultiaddrNotSupported(_))
}

/// What the system said, below all that the transports put around it.
fn io_kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        cause = match error.downcast_ref::<io::Error>() {
            // An error in an I/O error isn't its source.
            Some(io) => match io.get_ref() {
                Some(inner) => Some(inner),
                None => return Some(io.kind()),
            },
            None => error.source(),
        };
    }
    None
}

/// Each address that was tried, and how it failed.
fn reasons(error: &DialError) -> Vec<(Multiaddr, String)> {
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
    match address_failure(error) {
        Some(AddressFailure::WrongPeer(peer)) => Some(*peer),
        _ => None,
    }
}

/// What the dial of the address came to, below all that transports put around it.
fn address_failure(error: &TransportError<io::Error>) -> Option<&AddressFailure> {
    let TransportError::Other(error) = error else { return None };
    let mut cause: &(dyn Error + 'static) = error;
    loop {
        // An error in an I/O error isn't its source.
        cause = match cause.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref()?,
            None => return cause.downcast_ref(),
        };
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use libp2p::Transport;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::{DialOpts, PortUse};

    use super::*;
    use crate::networks::Networks;
    use crate::node::net::address_book::AddressBook;
    use crate::node::net::resolver::Resolver;
    use crate::node::net::staggered::Dials;

    #[tokio::test]
    async fn what_the_system_says_is_found_below_the_transports() {
        let keypair = libp2p::identity::Keypair::generate_ed25519();
        let address_book = AddressBook::default();
        let dials = Dials::new(Networks::fixed([]), address_book);
        let resolver = Arc::new(Resolver::system(Box::new(|_| {})));
        let secured = crate::node::net::transport::Secured {
            keypair: &keypair,
            #[cfg(feature = "pnet")]
            pre_shared_key: None,
        };
        let mut transport = crate::node::net::transport::build(secured, false, resolver, dials).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = format!("/ip4/127.0.0.1/tcp/{}", free.port()).parse().unwrap();
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let error = match transport.dial(address, options) {
            Ok(dial) => TransportError::Other(dial.await.unwrap_err()),
            Err(error) => error,
        };
        assert_eq!(io_kind(&error), Some(ErrorKind::ConnectionRefused), "{error:?}");
    }

    #[test]
    fn what_our_network_has_no_way_to_tells_nothing_of_the_peer() {
        let address = |n: u8| format!("/ip4/10.0.0.{n}/tcp/1").parse::<Multiaddr>().unwrap();
        // As the transports wrap it.
        let wrapped = |kind: ErrorKind| TransportError::Other(io::Error::other(io::Error::from(kind)));
        let errors = vec![
            (address(1), wrapped(ErrorKind::ConnectionRefused)),
            (address(2), wrapped(ErrorKind::NetworkUnreachable)),
            (address(3), TransportError::Other(ErrorKind::HostUnreachable.into())),
            (address(4), wrapped(ErrorKind::TimedOut)),
        ];
        let failure = failure(&DialError::Transport(errors));
        assert_eq!(failure.tried, [1, 4, 2, 3].map(address));
        let expected: Vec<IpAddr> = ["10.0.0.2", "10.0.0.3"].iter().map(|ip| ip.parse().unwrap()).collect();
        assert_eq!(failure.no_route, expected);
        let nowhere = vec![
            (address(1), TransportError::MultiaddrNotSupported(address(1))),
            (address(2), wrapped(ErrorKind::NetworkUnreachable)),
        ];
        assert!(super::failure(&DialError::Transport(nowhere)).tried.is_empty());
        assert!(!failure.aborted && super::failure(&DialError::Aborted).aborted);
    }
}
