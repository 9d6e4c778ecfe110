//! Networks to break: hosts that are network namespaces, each with cables to bridges in a hub. They need Linux, root and `ip`.
//!
//! A [`Lab`] is a hub and its hosts. All of it goes when it is dropped; what a run left behind that was killed goes when the next one begins.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What the names of all namespaces begin with. The process id of their run follows, then the number of their lab.
const PREFIX: &str = "p2prpc-";
/// The bridge that every hub has.
pub const LAN: &str = "lan";

/// Adding the first namespace mounts a directory, which two can't do at once.
static ADDING: Mutex<()> = Mutex::new(());

/// Why no network can be made here, in one line. `None` if one can.
pub fn missing() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("network namespaces are Linux's".into());
    }
    let probe = format!("{PREFIX}{}-probe", std::process::id());
    let tried = netns("add", &probe).and_then(|()| {
        ip(&["-n", &probe, "link", "add", LAN, "type", "bridge"])?;
        ip(&["-n", &probe, "link", "add", "eth0", "type", "veth", "peer", "name", "port0"])?;
        ip(&["netns", "exec", &probe, "true"])
    });
    // It is there only if adding it went well.
    let _ = netns("del", &probe);
    tried.err().map(|error| format!("networks can't be made here: {error}"))
}

/// Removes what runs left behind that are gone.
pub fn tidy() {
    for directory in ["/run/netns", "/etc/netns"] {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let run = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            if run.is_some_and(|run| !Path::new("/proc").join(run).exists()) {
                remove(&name);
            }
        }
    }
}

/// Ends what runs in a namespace, and the namespace. What isn't there needs no removing.
fn remove(namespace: &str) {
    let inside = Command::new("ip").args(["netns", "pids", namespace]).stderr(Stdio::null()).output();
    let inside = inside.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned()).unwrap_or_default();
    for process in inside.split_whitespace() {
        let _ = Command::new("kill").args(["-KILL", process]).stderr(Stdio::null()).status();
    }
    let _ = netns("del", namespace);
    let _ = fs::remove_dir_all(etc(namespace));
}

/// What a process in a namespace sees as its own part of `/etc`.
fn etc(namespace: &str) -> PathBuf {
    Path::new("/etc/netns").join(namespace)
}

fn netns(what: &str, namespace: &str) -> Result<(), String> {
    let _one_at_a_time = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
    ip(&["netns", what, namespace])
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let answer =
        Command::new("ip").args(arguments).stdin(Stdio::null()).output().map_err(|error| match error.kind() {
            ErrorKind::NotFound => "there is no program `ip` (of iproute2)".to_owned(),
            _ => format!("`ip` can't be started: {error}"),
        })?;
    let said = String::from_utf8_lossy(&answer.stderr);
    if answer.status.success() { Ok(()) } else { Err(format!("`ip {}`: {}", arguments.join(" "), said.trim())) }
}

fn ip_in(namespace: &str, arguments: &str) -> Result<(), String> {
    let mut all = vec!["-n", namespace];
    all.extend(arguments.split_whitespace());
    ip(&all)
}

/// A hub with bridges, and the hosts that are plugged in there.
#[derive(Debug)]
pub struct Lab {
    name: String,
    hub: String,
    namespaces: Mutex<Vec<String>>,
    ports: AtomicUsize,
}

impl Lab {
    /// With one bridge, [`LAN`].
    ///
    /// # Panics
    ///
    /// If it can't be made.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{PREFIX}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let hub = format!("{name}-hub");
        let lab = Lab { name, hub, namespaces: Mutex::default(), ports: AtomicUsize::new(0) };
        lab.namespace(&lab.hub);
        lab.bridge(LAN);
        lab
    }

    fn namespace(&self, name: &str) {
        netns("add", name).unwrap();
        self.namespaces.lock().unwrap().push(name.to_owned());
    }

    /// Adds a bridge to the hub: a network of its own.
    ///
    /// # Panics
    ///
    /// If it can't be made.
    pub fn bridge(&self, bridge: &str) {
        // Without waiting for a spanning tree, a port works as soon as it is plugged in.
        ip_in(&self.hub, &format!("link add {bridge} type bridge stp_state 0 forward_delay 0")).unwrap();
        ip_in(&self.hub, &format!("link set {bridge} up")).unwrap();
    }

    /// A host with `eth0` plugged into [`LAN`], which has these addresses (`10.9.0.1/24`).
    ///
    /// # Panics
    ///
    /// If it can't be made.
    pub fn host(&self, name: &str, addresses: &[&str]) -> Host<'_> {
        let host = self.bare_host(name);
        host.ip("link set lo up");
        host.plug("eth0", LAN, addresses);
        host
    }

    /// A host that has nothing: its loopback interface is down.
    ///
    /// # Panics
    ///
    /// If it can't be made.
    pub fn bare_host(&self, name: &str) -> Host<'_> {
        let namespace = format!("{}-{name}", self.name);
        self.namespace(&namespace);
        Host { lab: self, name: name.to_owned(), namespace, ports: Mutex::default() }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            remove(namespace);
        }
    }
}

/// A machine of a [`Lab`].
pub struct Host<'a> {
    lab: &'a Lab,
    name: String,
    namespace: String,
    /// Its interfaces, their ports in the hub, and the bridges those belong to.
    ports: Mutex<Vec<Port>>,
}

struct Port {
    interface: String,
    port: String,
    bridge: String,
}

impl Host<'_> {
    /// Its name in the lab.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` for it: `link set eth0 down`.
    ///
    /// # Panics
    ///
    /// If that fails.
    #[track_caller]
    pub fn ip(&self, arguments: &str) {
        ip_in(&self.namespace, arguments).unwrap();
    }

    /// A new interface with a cable to a bridge and these addresses, up.
    ///
    /// # Panics
    ///
    /// If it can't be made.
    pub fn plug(&self, interface: &str, bridge: &str, addresses: &[&str]) {
        let port = format!("port{}", self.lab.ports.fetch_add(1, Ordering::Relaxed));
        let hub = &self.lab.hub;
        ip(&["link", "add", interface, "netns", &self.namespace, "type", "veth", "peer", "name", &port, "netns", hub])
            .unwrap();
        ip_in(hub, &format!("link set {port} master {bridge} up")).unwrap();
        for address in addresses {
            self.add(interface, address);
        }
        self.up(interface);
        let port = Port { interface: interface.to_owned(), port, bridge: bridge.to_owned() };
        self.ports.lock().unwrap().push(port);
    }

    /// Switches an interface on.
    pub fn up(&self, interface: &str) {
        self.ip(&format!("link set {interface} up"));
    }

    /// Switches an interface off. It keeps its IPv4 addresses.
    pub fn down(&self, interface: &str) {
        self.ip(&format!("link set {interface} down"));
    }

    /// Takes all addresses from an interface.
    pub fn flush(&self, interface: &str) {
        self.ip(&format!("addr flush dev {interface}"));
    }

    /// Gives an interface an address, with the length of its prefix.
    pub fn add(&self, interface: &str, address: &str) {
        // An IPv6 address would be of use only after a while, in which the kernel asks whether another host has it.
        let at_once = if address.contains(':') { "nodad" } else { "" };
        self.ip(&format!("addr add {address} dev {interface} {at_once}"));
    }

    /// Takes an address from an interface.
    pub fn remove(&self, interface: &str, address: &str) {
        self.ip(&format!("addr del {address} dev {interface}"));
    }

    /// Takes the other end of an interface's cable off its bridge: packets are lost, and nobody is told.
    pub fn cut(&self, interface: &str) {
        self.switch(interface, |port| format!("link set {} nomaster", port.port));
    }

    /// Takes back [`cut`](Self::cut).
    pub fn mend(&self, interface: &str) {
        self.switch(interface, |port| format!("link set {} master {}", port.port, port.bridge));
    }

    fn switch(&self, interface: &str, arguments: impl Fn(&Port) -> String) {
        let ports = self.ports.lock().unwrap();
        let port = ports.iter().find(|port| port.interface == interface).expect("it is plugged in");
        ip_in(&self.lab.hub, &arguments(port)).unwrap();
    }

    /// What its `/etc/resolv.conf` says, also to programs that run already if it said something when they were started.
    ///
    /// # Panics
    ///
    /// If that can't be written.
    pub fn resolver(&self, text: &str) {
        let directory = etc(&self.namespace);
        fs::create_dir_all(&directory).unwrap();
        // The file itself is mounted there: another one in its place would not be seen.
        fs::write(directory.join("resolv.conf"), text).unwrap();
    }

    /// What runs a program on this host, by its process id.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }
}

impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
