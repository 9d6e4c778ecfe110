//! What the tests of p2prpc share: bare Swarms that hold only a [`Behaviour`](p2prpc::Behaviour), on loopback, and a service to call.

pub mod golang;
mod gopeer;
pub mod hostile;
pub mod network;
mod peer;
pub mod programs;
mod waiting;
mod workbench;

pub use gopeer::GoPeer;
pub use peer::{Peer, PeerBuilder, Transport, connect, mesh};
pub use waiting::{LONG, PATIENCE, soon, until};
pub use workbench::{
    Bench, MathError, Seen, Workbench, WorkbenchClient, WorkbenchPeer, WorkbenchPeers, WorkbenchServer,
};
