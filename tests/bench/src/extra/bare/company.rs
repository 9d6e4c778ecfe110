//! A swarm of what a node of p2prpc has beside p2prpc: Kademlia, identify and ping.

use std::time::Duration;

use futures::StreamExt;
use libp2p::kad::{self, Mode, store::MemoryStore};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, Swarm, identify, ping};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::super::Error;
use super::super::nodes::{Carrier, Dht};
use super::{listen, swarm};

/// As a node of p2prpc has it.
const PING: Duration = Duration::from_secs(5);

#[derive(NetworkBehaviour)]
struct Company {
    kademlia: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// Whom to dial, and who is to hear of it.
type Dial = (Multiaddr, oneshot::Sender<Result<(), String>>);

/// Runs in a task of its own until it is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    address: Multiaddr,
    dials: mpsc::Sender<Dial>,
    task: JoinHandle<()>,
}

impl Peer {
    pub(crate) async fn start(carrier: Carrier, dht: Dht) -> Result<Self, Error> {
        let protocol = StreamProtocol::try_from_owned(dht.protocol())?;
        let mut swarm = swarm(|keypair| {
            let local = keypair.public().to_peer_id();
            let store = MemoryStore::new(local);
            let mut kademlia = kad::Behaviour::with_config(local, store, kad::Config::new(protocol));
            kademlia.set_mode(Some(Mode::Server));
            let identify = identify::Config::new("/bench".into(), keypair.public())
                .with_push_listen_addr_updates(true)
                .with_cache_size(0);
            Company {
                kademlia,
                identify: identify::Behaviour::new(identify),
                ping: ping::Behaviour::new(ping::Config::new().with_interval(PING).with_timeout(PING)),
            }
        })?;
        let address = listen(&mut swarm, carrier).await?;
        let (dials, dialling) = mpsc::channel(1);
        Ok(Peer { address, dials, task: tokio::spawn(drive(swarm, dialling)) })
    }

    pub(crate) fn address(&self) -> &Multiaddr {
        &self.address
    }

    /// Waits until it is connected.
    pub(crate) async fn connect(&self, address: Multiaddr) -> Result<(), Error> {
        let (connected, result) = oneshot::channel();
        self.dials.send((address, connected)).await.map_err(|_| "a swarm has ended")?;
        Ok(result.await??)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn drive(mut swarm: Swarm<Company>, mut dialling: mpsc::Receiver<Dial>) {
    let mut waiting: Option<oneshot::Sender<Result<(), String>>> = None;
    loop {
        let result = tokio::select! {
            dial = dialling.recv() => {
                let Some((address, connected)) = dial else { return };
                let failed = swarm.dial(address).err().map(|error| Err(error.to_string()));
                waiting = Some(connected);
                failed
            }
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { .. } => Some(Ok(())),
                SwarmEvent::OutgoingConnectionError { error, .. } => Some(Err(error.to_string())),
                _ => None,
            },
        };
        if let Some((result, connected)) = result.and_then(|result| waiting.take().map(|waiting| (result, waiting))) {
            let _ = connected.send(result);
        }
    }
}
