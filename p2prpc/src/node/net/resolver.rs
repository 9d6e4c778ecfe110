//! Names, looked up by the system's configuration of now.
//!
//! A machine that moves to another network gets other name servers, and one that starts before its network has none yet.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::Path;
#[cfg(test)]
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{TokioResolver, system_conf};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use parking_lot::Mutex;

/// All lookups for one address, together.
const LOOKUP_WITHIN: Duration = Duration::from_secs(5);
/// One question to one name server.
const QUESTION_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked during a lookup whether the configuration has changed.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Questions for one address: names can lead to names.
const MAX_LOOKUPS: usize = 32;
/// Addresses that a name can stand for.
const MAX_ADDRESSES: usize = 16;

/// Told when names can't be looked up any more, with the reason, and with `None` when they can again.
pub(in crate::node) type Told = Box<dyn Fn(Option<&str>) + Send + Sync>;

pub(in crate::node) struct Resolver {
    source: Source,
    told: Told,
    state: Mutex<State>,
}

enum Source {
    System,
    /// A file like `/etc/resolv.conf`, and the port of all name servers.
    #[cfg(test)]
    File(PathBuf, u16),
}

#[derive(Default)]
struct State {
    current: Option<(Stamp, TokioResolver)>,
    /// The configuration by which names could not be looked up last.
    unavailable: Option<Stamp>,
}

/// Another one means another configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    servers: Option<Vec<u8>>,
    hosts: Option<SystemTime>,
}

/// Why a name led nowhere.
#[derive(Clone, Debug)]
pub(in crate::node) enum NameError {
    /// This system can't look up names now.
    Unavailable(String),
    /// There is no such name, it has no address, or the name server refuses to say.
    NotFound(String),
    /// It leads from name to name.
    TooManyLookups,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Unavailable(reason) => write!(f, "names can't be looked up yet ({reason}); it is tried again"),
            NameError::NotFound(reason) => f.write_str(reason),
            NameError::TooManyLookups => write!(f, "the name takes more than {MAX_LOOKUPS} lookups"),
        }
    }
}

impl Error for NameError {}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

/// The first part of an address that is a name, and where it stands.
pub(in crate::node) fn name_in(address: &Multiaddr) -> Option<(usize, Protocol<'_>)> {
    use Protocol::{Dns, Dns4, Dns6, Dnsaddr};
    address.iter().enumerate().find(|(_, part)| matches!(part, Dns(_) | Dns4(_) | Dns6(_) | Dnsaddr(_)))
}

impl Resolver {
    pub(in crate::node) fn system(told: Told) -> Self {
        Resolver { source: Source::System, told, state: Mutex::default() }
    }

    /// The addresses without a name that this one stands for: at least one.
    pub(in crate::node) async fn resolve(&self, address: &Multiaddr) -> Result<Vec<Multiaddr>, NameError> {
        let resolved = match tokio::time::timeout(LOOKUP_WITHIN, self.resolve_by_latest(address)).await {
            Ok(resolved) => resolved,
            Err(_) => Err(NameError::Unavailable("no name server answers".into())),
        };
        self.tell(&resolved);
        resolved
    }

    /// Begins again with each change of the configuration.
    async fn resolve_by_latest(&self, address: &Multiaddr) -> Result<Vec<Multiaddr>, NameError> {
        loop {
            let (stamp, resolver) = self.current()?;
            tokio::select! {
                resolved = resolve(&resolver, address) => return resolved,
                () = self.changed_since(&stamp) => {}
            }
        }
    }

    async fn changed_since(&self, stamp: &Stamp) {
        while self.source.stamp() == *stamp {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// True, once, if names could not be looked up last, and the configuration is another one since.
    pub(in crate::node) fn may_work_again(&self) -> bool {
        let mut state = self.state.lock();
        let Some(failed) = &mut state.unavailable else { return false };
        let now = self.source.stamp();
        std::mem::replace(failed, now.clone()) != now
    }

    fn current(&self) -> Result<(Stamp, TokioResolver), NameError> {
        let stamp = self.source.stamp();
        let mut state = self.state.lock();
        if let Some((of, resolver)) = &state.current
            && *of == stamp
        {
            return Ok((stamp, resolver.clone()));
        }
        let resolver = self.source.read().and_then(|(config, mut options)| {
            options.timeout = options.timeout.min(QUESTION_WITHIN);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
        });
        let resolver = resolver.map_err(|error| NameError::Unavailable(format!("no usable configuration: {error}")))?;
        state.current = Some((stamp.clone(), resolver.clone()));
        Ok((stamp, resolver))
    }

    fn tell(&self, resolved: &Result<Vec<Multiaddr>, NameError>) {
        let mut state = self.state.lock();
        if resolved.is_err() {
            // What a resolver remembers of a failure is not to outlive its cause.
            state.current = None;
        }
        let reason = match resolved {
            Err(NameError::Unavailable(reason)) => Some(reason.as_str()),
            _ => None,
        };
        let news = state.unavailable.is_some() != reason.is_some();
        state.unavailable = reason.map(|_| self.source.stamp());
        drop(state);
        if news {
            (self.told)(reason);
        }
    }
}

impl Source {
    fn stamp(&self) -> Stamp {
        let modified = |path: &str| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        let servers = match self {
            Source::System => Path::new("/etc/resolv.conf"),
            #[cfg(test)]
            Source::File(path, _) => path,
        };
        Stamp { servers: std::fs::read(servers).ok(), hosts: modified("/etc/hosts") }
    }

    fn read(&self) -> Result<(ResolverConfig, ResolverOpts), NetError> {
        match self {
            Source::System => system_conf::read_system_conf(),
            #[cfg(test)]
            Source::File(path, port) => {
                let (config, options) = system_conf::parse_resolv_conf(std::fs::read(path)?)?;
                let mut servers = config.name_servers().to_vec();
                for connection in servers.iter_mut().flat_map(|server| &mut server.connections) {
                    connection.port = *port;
                }
                Ok((ResolverConfig::from_parts(None, Vec::new(), servers), options))
            }
        }
    }
}

async fn resolve(resolver: &TokioResolver, address: &Multiaddr) -> Result<Vec<Multiaddr>, NameError> {
    let (mut unresolved, mut resolved) = (vec![address.clone()], Vec::new());
    let (mut lookups, mut failure) = (0, None);
    while let Some(address) = unresolved.pop() {
        let Some((at, name)) = name_in(&address) else {
            if !resolved.contains(&address) && resolved.len() < MAX_ADDRESSES {
                resolved.push(address);
            }
            continue;
        };
        if lookups == MAX_LOOKUPS {
            failure = Some(NameError::TooManyLookups);
            break;
        }
        lookups += 1;
        match look_up(resolver, &name).await {
            Ok(found) => {
                let found = found.into_iter().filter_map(|found| spliced(&address, at, &name, found));
                let mut found: Vec<Multiaddr> = found.take(MAX_ADDRESSES).collect();
                // The last is taken first.
                found.reverse();
                unresolved.extend(found);
            }
            Err(error) => failure = Some(error),
        }
    }
    if resolved.is_empty() {
        return Err(failure.unwrap_or_else(|| no_address(&address.to_string())));
    }
    Ok(resolved)
}

/// `address` with what was found for its part `name`; `None` if that belongs to somebody else.
fn spliced(address: &Multiaddr, at: usize, name: &Protocol<'_>, found: Multiaddr) -> Option<Multiaddr> {
    let before = address.iter().take(at);
    let after: Multiaddr = address.iter().skip(at + 1).collect();
    match name {
        Protocol::Dnsaddr(_) if found.ends_with(&after) => Some(before.chain(found.iter()).collect()),
        Protocol::Dnsaddr(_) => None,
        _ => Some(before.chain(found.iter()).chain(after.iter()).collect()),
    }
}

/// What stands for one name.
async fn look_up(resolver: &TokioResolver, name: &Protocol<'_>) -> Result<Vec<Multiaddr>, NameError> {
    let records = async |name: &str, kind| -> Result<Vec<RData>, NameError> {
        let found = checked(name, resolver.lookup(name, kind)).await?;
        Ok(found.answers().iter().map(|record| record.data.clone()).collect())
    };
    let found: Vec<Multiaddr> = match name {
        Protocol::Dns4(name) => {
            let found = records(name, RecordType::A).await?;
            found.iter().filter_map(RData::ip_addr).map(Multiaddr::from).collect()
        }
        Protocol::Dns6(name) => {
            let found = records(name, RecordType::AAAA).await?;
            found.iter().filter_map(RData::ip_addr).map(Multiaddr::from).collect()
        }
        Protocol::Dns(name) => {
            let found = checked(name, resolver.lookup_ip(name.as_ref())).await?;
            found.iter().map(|ip: IpAddr| Multiaddr::from(ip)).collect()
        }
        Protocol::Dnsaddr(name) => {
            let found = records(&format!("_dnsaddr.{name}"), RecordType::TXT).await?;
            let texts = found.iter().filter_map(|data| match data {
                RData::TXT(text) => text.txt_data.first(),
                _ => None,
            });
            let texts = texts.filter_map(|text| std::str::from_utf8(text).ok()?.strip_prefix("dnsaddr="));
            texts.filter_map(|text| text.parse().ok()).collect()
        }
        other => return Ok(vec![Multiaddr::from(other.clone())]),
    };
    if found.is_empty() {
        return Err(no_address(&name.to_string()));
    }
    Ok(found)
}

fn no_address(name: &str) -> NameError {
    NameError::NotFound(format!("the name {name} has no address"))
}

/// An answer, though it be "no", is one.
async fn checked<T>(name: &str, lookup: impl Future<Output = Result<T, NetError>>) -> Result<T, NameError> {
    lookup.await.map_err(|error| match error {
        NetError::Dns(DnsError::NoRecordsFound(_)) => no_address(name),
        NetError::Dns(error) => NameError::NotFound(format!("the name {name} could not be looked up: {error}")),
        NetError::Timeout | NetError::NoConnections => NameError::Unavailable("no name server answers".into()),
        NetError::Io(error) if error.kind() == io::ErrorKind::NetworkUnreachable => {
            NameError::Unavailable("no name server can be reached".into())
        }
        other => NameError::Unavailable(other.to_string()),
    })
}

#[cfg(all(test, unix, not(target_vendor = "apple")))]
mod tests;
