//! What can be asked of a running node, through the node itself or through a handle.

use std::sync::{Arc, Weak};

use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use super::CONNECT_WITHIN;
use super::error::ConnectError;
use super::event::{Announcer, Events};
use super::net::address::{self, IntoAddress, InvalidAddress};
use super::net::address_book::AddressBook;
use super::swarm::Command;
use crate::call::Handle;
use crate::clock;
use crate::error::{ErrorKind, RpcError};

/// Keeps the node's channels open.
#[derive(Clone)]
pub(super) struct Control {
    pub(super) announcer: Arc<Announcer>,
    pub(super) address_book: AddressBook,
    pub(super) commands: mpsc::UnboundedSender<Command>,
}

/// The same, and keeps nothing open.
pub(super) struct WeakControl {
    announcer: Weak<Announcer>,
    address_book: AddressBook,
    commands: mpsc::WeakUnboundedSender<Command>,
}

impl WeakControl {
    pub(super) fn of(control: &Control) -> Self {
        WeakControl {
            announcer: Arc::downgrade(&control.announcer),
            address_book: control.address_book.clone(),
            commands: control.commands.downgrade(),
        }
    }

    fn upgrade(&self) -> Option<Control> {
        Some(Control {
            announcer: self.announcer.upgrade()?,
            address_book: self.address_book.clone(),
            commands: self.commands.upgrade()?,
        })
    }
}

impl Control {
    /// A command that finds no task is for a node that has ended.
    pub(super) fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    pub(super) fn add_address(&self, peer: PeerId, address: Multiaddr) -> Result<(), InvalidAddress> {
        if address::check_dialable(&address)?.is_some_and(|named| named != peer) {
            return Err(InvalidAddress::new(address, format_args!("it is not an address of {peer}")));
        }
        self.address_book.add(peer, address.clone());
        self.tell(Command::AddressGiven { peer, address });
        Ok(())
    }
}

/// What [`Control::connect`] does, without keeping the node's channels open meanwhile.
pub(super) async fn connect(control: Control, address: Multiaddr) -> Result<PeerId, ConnectError> {
    let peer = address::check_dialable(&address)?;
    let (connected, result) = oneshot::channel();
    control.tell(Command::Connect { address: address.clone(), peer, connected });
    drop(control);
    match clock::within(CONNECT_WITHIN, result).await {
        Some(result) => result.unwrap_or(Err(ConnectError::Closed)),
        None => {
            let reason = format!("nobody answered within {} s", CONNECT_WITHIN.as_secs());
            Err(ConnectError::Unreachable { address, reason })
        }
    }
}

/// Of a node, not of a bare [`Behaviour`](crate::Behaviour): that one's Swarm connects, and has events of its own.
impl Handle {
    /// As [`Node::events`](crate::Node::events).
    ///
    /// # Errors
    /// If the node has not been started or is gone, or if this is the handle of a bare [`Behaviour`](crate::Behaviour)
    /// ([`ErrorKind::NotSupported`]).
    pub fn events(&self) -> Result<Events, RpcError> {
        Ok(self.node()?.announcer.receiver())
    }

    /// As [`Node::connect`](crate::Node::connect).
    ///
    /// # Errors
    /// As [`Node::connect`](crate::Node::connect), and if the node has not been started, or if this is the handle of a bare [`Behaviour`](crate::Behaviour).
    pub async fn connect(&self, address: impl IntoAddress) -> Result<PeerId, ConnectError> {
        let address = address.into_address()?;
        connect(self.node().map_err(ConnectError::from_handle)?, address).await
    }

    /// As [`Node::add_address`](crate::Node::add_address).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if the address can't be used or names another peer. Otherwise as [`events`](Handle::events).
    pub fn add_address(&self, peer: PeerId, address: impl IntoAddress) -> Result<(), RpcError> {
        let node = self.node()?;
        let added = address.into_address().and_then(|address| node.add_address(peer, address));
        added.map_err(|error| RpcError::never_sent(ErrorKind::InvalidRequest, &error).because(error))
    }

    fn node(&self) -> Result<Control, RpcError> {
        self.network()?;
        let none = || RpcError::never_sent(ErrorKind::NotSupported, "this is the handle of a Behaviour, not of a node");
        let ended = || RpcError::never_sent(ErrorKind::Closed, "it was shut down or dropped");
        self.kept::<WeakControl>().ok_or_else(none)?.upgrade().ok_or_else(ended)
    }
}
