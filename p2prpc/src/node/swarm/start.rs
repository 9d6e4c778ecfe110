//! From a builder's values to a driver that listens.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU8;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use libp2p::core::upgrade::Version;
use libp2p::kad::Mode;
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, StreamProtocol, Swarm, Transport, TransportError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::admitted::Fresh;
use super::connect::Connecting;
use super::listen;
use super::{Command, Driver};
use crate::behaviour::{Behaviour, Config, Core, InvalidProtocol};
use crate::membership::{Discovery, DiscoveryConfig, GorpcName, VisibleServices};
use crate::networks::Networks;
use crate::node::behaviour::NodeBehaviour;
use crate::node::builder::NodeBuilder;
use crate::node::control::Control;
use crate::node::dht::ProviderStore;
use crate::node::dht::kademlia::Kademlia;
use crate::node::discovered::Discovered;
use crate::node::error::StartError;
use crate::node::event::Announcer;
use crate::node::identity::Identity;
use crate::node::net::address::{InvalidAddress, ListenAddress};
use crate::node::net::connection_limits::{ConnectionLimits, Quiet};
use crate::node::net::handshakes::Handshakes;
use crate::node::net::interfaces::Interfaces;
use crate::node::net::reachability::Reachability;
use crate::node::net::resolver::{Resolver, Told};
use crate::node::net::staggered::Dials;
use crate::node::net::transport::{self, Secured};
use crate::node::peer_cache::PeerCache;
use crate::service::Layers;

/// A connection that nothing uses and nobody pins ends after this.
const IDLE_CONNECTION: Duration = Duration::from_secs(10);
/// A connection is asked for a sign of life after so long a silence.
const PING: Duration = Duration::from_secs(5);
/// Inbound streams of a connection whose protocol isn't agreed on yet: one more is reset.
const MAX_NEGOTIATING: usize = 128;
/// The same where peers open a stream for each call.
const MAX_NEGOTIATING_GORPC: usize = 1024;
/// Peers that say that they go before we have heard the first of them out: of one more we see the connection close.
const LEAVING: usize = 256;
/// A wildcard address is bound at once; which addresses it means is asked of the system, and comes within this.
const LISTEN_WITHIN: Duration = Duration::from_secs(5);

impl Driver {
    pub(in crate::node) async fn start(
        builder: NodeBuilder,
        control: &Control,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Result<Self, StartError> {
        let (announcer, address_book) = (control.announcer.clone(), control.address_book.clone());
        let kad_protocol = builder.checked_kad_protocol()?;
        let identity = builder.identity.clone().unwrap_or_else(Identity::generate);
        let local = identity.peer_id();
        let (rpc, core) = rpc(local, &builder)?;
        let networks = Networks::system();
        let dials = Dials::new(networks.clone(), address_book.clone());
        let scope = builder.reachability.scope(builder.bootstrap.iter().map(|(_, address)| address));
        let rendezvous = builder.rendezvous.iter().map(|name| &**name);
        let store = ProviderStore::new(local, rendezvous, scope, networks.clone());
        let (remembered, peer_cache) = match builder.peer_cache.clone() {
            Some(path) => {
                let (peers, cache) = PeerCache::open(path, local, Instant::now()).await;
                (peers, Some(cache))
            }
            None => Default::default(),
        };
        let discovery = Discovery::new(
            DiscoveryConfig {
                local,
                rendezvous: builder.rendezvous.clone(),
                bootstrap: builder.bootstrap.clone(),
                remembered: remembered.into_iter().collect(),
                serves: !builder.services.is_empty(),
                max_connected_members: builder.max_connected_members,
                scope,
                networks: networks.clone(),
                private: builder.reachability == Reachability::Private,
                application: builder.protocol.clone(),
                kad_protocol: kad_protocol.clone(),
                gorpc: gorpc_name(&builder)?,
                visible: visible(&core, &builder),
                seed: rand::random(),
            },
            Instant::now(),
        );
        let mut kademlia = Kademlia::new(local, kad_protocol, store, scope, discovery.dial_budget(), networks.clone());
        kademlia.set_mode(match builder.reachability {
            Reachability::Private | Reachability::Public(_) => Mode::Server,
            Reachability::Client => Mode::Client,
        });
        let (says_leaving, leaving) = mpsc::channel(LEAVING);
        let private = if builder.private { builder.layers.clone() } else { Layers::default() };
        let membership = discovery.service(says_leaving);
        rpc.serve_internal(membership.behind(private.clone()))?;
        let behaviour = NodeBehaviour::new(
            ConnectionLimits::new(
                builder.admission.clone(),
                address_book,
                dials.clone(),
                builder.max_connections,
                Quiet::of(&core),
            ),
            rpc,
            kademlia,
            identity.keypair(),
            builder.protocol.clone(),
            scope,
            #[cfg(feature = "mdns")]
            crate::node::net::mdns::Nearby::new(local, builder.mdns).map_err(StartError::Network)?,
        );
        let config = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(IDLE_CONNECTION)
            // Each address waits for its turn by itself.
            .with_dial_concurrency_factor(NonZeroU8::MAX)
            .with_max_negotiating_inbound_streams(if builder.speaks_gorpc() {
                MAX_NEGOTIATING_GORPC
            } else {
                MAX_NEGOTIATING
            })
            .with_substream_upgrade_protocol_override(Version::V1Lazy);
        let resolver = Arc::new(Resolver::system(tells_of_resolver(announcer.clone())));
        let secured = Secured {
            keypair: identity.keypair(),
            #[cfg(feature = "pnet")]
            pre_shared_key: builder.pre_shared_key.as_ref(),
        };
        let transport = transport::build(secured, builder.speaks_gorpc(), resolver.clone(), dials.clone());
        let transport = transport.map_err(StartError::Network)?;
        let mut driver = Driver {
            swarm: Swarm::new(Handshakes::new(transport).boxed(), behaviour, local, config),
            discovery,
            announcer,
            core,
            handle: builder.handle.clone(),
            commands,
            listens_openly: builder.reachability == Reachability::Private,
            listeners: Vec::new(),
            own_addresses: Vec::new(),
            connecting: Connecting::default(),
            fresh: Fresh::default(),
            inbound: BTreeMap::new(),
            dials,
            networks,
            resolver,
            leaving,
            asking: JoinSet::new(),
            to_ask: VecDeque::new(),
            farewell: None,
            interfaces: Interfaces::new(),
            asking_ports: JoinSet::new(),
            local_ips: HashMap::new(),
            last_tick: Instant::now(),
            started: false,
            peer_cache,
            next_look_for_idle: Instant::now(),
            private,
        };
        if let Reachability::Public(addresses) = builder.reachability {
            for address in addresses {
                driver.swarm.add_external_address(address);
            }
            driver.addresses_changed();
        }
        driver.listen(&builder.listen).await?;
        Ok(driver)
    }

    pub(in crate::node) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Listen on all of these, and know where that is, or fail.
    async fn listen(&mut self, addresses: &[ListenAddress]) -> Result<(), StartError> {
        let mut waiting = HashMap::new();
        for listen in addresses {
            let _turn = listen::turn(listen).await;
            listen::probe(listen)?;
            match self.swarm.listen_on(listen.address.clone()) {
                Ok(listener) => {
                    self.listeners.push((listener, listen.kind));
                    waiting.insert(listener, listen);
                }
                Err(TransportError::Other(error)) => return Err(listen::failed(listen, &error)),
                Err(TransportError::MultiaddrNotSupported(address)) => {
                    return Err(InvalidAddress::new(address, "no transport of this node can listen there").into());
                }
            }
        }
        let deadline = tokio::time::Instant::now() + LISTEN_WITHIN;
        while !waiting.is_empty() {
            let Ok(event) = tokio::time::timeout_at(deadline, self.swarm.select_next_some()).await else {
                tracing::warn!("it isn't known yet at which addresses the node listens");
                break;
            };
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    waiting.remove(listener_id);
                }
                SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. } => {
                    if let Some(listen) = waiting.remove(listener_id) {
                        return Err(listen::failed(listen, error));
                    }
                }
                _ => {}
            }
            self.on_event(event);
        }
        // The other addresses of a wildcard are known by now too.
        while let Some(event) = self.swarm.select_next_some().now_or_never() {
            self.on_event(event);
        }
        Ok(())
    }
}

fn rpc(local: PeerId, builder: &NodeBuilder) -> Result<(Behaviour, Arc<Core>), StartError> {
    let config = Config::new(&builder.protocol)?
        .limits(builder.limits.clone())
        .timeout(builder.timeout)
        .codec(builder.codec)
        .ping_interval(PING)
        .strict_methods(builder.strict_methods);
    #[cfg(feature = "gorpc")]
    let config = config.gorpc(builder.gorpc);
    let rpc = Behaviour::of(local, config, Box::new(Discovered), Box::new(Discovered));
    let mut rpc = rpc.with_handle(&builder.handle);
    for service in &builder.services {
        rpc.serve(service.clone())?;
    }
    rpc.add_layers(builder.layers.clone());
    let core = rpc.core().clone();
    Ok((rpc, core))
}

/// Says it once when names can't be looked up any more, and once when they can again.
fn tells_of_resolver(announcer: Arc<Announcer>) -> Told {
    Box::new(move |error| {
        match error {
            Some(error) => {
                tracing::warn!(error, "names can't be looked up: addresses with names are tried again later")
            }
            None => tracing::info!("names can be looked up again"),
        }
        announcer.resolver(error);
    })
}

/// How to tell a Go peer, if there may be any.
fn gorpc_name(builder: &NodeBuilder) -> Result<Option<GorpcName>, StartError> {
    if !builder.speaks_gorpc() {
        return Ok(None);
    }
    let native = Config::new(&builder.protocol)?.protocol().clone();
    let invalid = |_| InvalidProtocol(builder.protocol.clone());
    let gorpc = StreamProtocol::try_from_owned(builder.protocol.clone()).map_err(invalid)?;
    Ok(Some(GorpcName { gorpc, native }))
}

/// The names of what we serve that a peer may see.
fn visible(core: &Arc<Core>, builder: &NodeBuilder) -> VisibleServices {
    // Weak, for the core holds the service that holds this.
    let core = Arc::downgrade(core);
    let rule = builder.visible.clone();
    Arc::new(move |peer| {
        let Some(core) = core.upgrade() else { return Vec::new() };
        let router = core.server().router();
        let seen = router.services().filter(|service| {
            let rule = rule.as_ref();
            rule.is_none_or(|rule| catch_unwind(AssertUnwindSafe(|| rule(peer, service.name()))).unwrap_or(false))
        });
        seen.cloned().collect()
    })
}
