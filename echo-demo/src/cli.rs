//! What can be asked for, and one sentence for what can't.

use std::error::Error;
use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};
use p2prpc::Multiaddr;
use p2prpc::libp2p::multiaddr::Protocol;

use crate::exit::Failure;
use crate::message::{self, Template};

/// The Go program's.
pub(crate) const RENDEZVOUS: &str = "ldej/echo";
/// The Go program's.
pub(crate) const PROTOCOL_ID: &str = "/p2p/rpc/ldej";
/// The largest swarm of one process.
const MAX_NODES: usize = 100;
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Peers that find each other through a Kademlia DHT and echo what they are told.
#[derive(Debug, Parser)]
#[command(name = "echo-demo", version, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

impl Cli {
    /// True if stdout is for programs.
    pub(crate) fn json(&self) -> bool {
        match &self.command {
            Some(Command::Swarm(swarm)) => swarm.echo.json,
            None => self.node.echo.json,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start many nodes in this process, on loopback, that find each other through the first.
    Swarm(SwarmArgs),
}

/// One node.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Meet the peers that name the same rendezvous.
    #[arg(long, value_name = "TEXT", default_value = RENDEZVOUS, value_parser = rendezvous)]
    pub(crate) rendezvous: String,

    /// Have the identity of this number, for demonstrations; 0 is a random one.
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = seed, allow_negative_numbers = true)]
    pub(crate) seed: u64,

    /// Join through this peer, /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW.. Can be given several times.
    #[arg(long, value_name = "MULTIADDR", value_parser = peer)]
    pub(crate) peer: Vec<Multiaddr>,

    /// Speak to the peers of this application only.
    #[arg(long, value_name = "ID", default_value = PROTOCOL_ID, value_parser = protocol_id)]
    pub(crate) protocolid: String,

    /// Listen on this port, by TCP and by QUIC; 0 is any free one.
    #[arg(long, value_name = "PORT", default_value = "0", value_parser = port, allow_negative_numbers = true)]
    pub(crate) port: u16,

    /// Have the identity in this file; it is made if it isn't there.
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    pub(crate) identity: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) echo: EchoArgs,
}

/// Many nodes.
#[derive(Debug, Args)]
pub(crate) struct SwarmArgs {
    /// How many, from 1 to 100.
    #[arg(value_name = "NODES", value_parser = nodes, allow_negative_numbers = true)]
    pub(crate) nodes: usize,

    #[command(flatten)]
    pub(crate) echo: EchoArgs,
}

/// What is said, how often.
#[derive(Debug, Args)]
pub(crate) struct EchoArgs {
    /// Call all peers this often: 500ms, 2s, 1m 30s.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval, allow_negative_numbers = true)]
    pub(crate) interval: Duration,

    /// End after this many intervals; without it, go on until Ctrl-C.
    #[arg(long, value_name = "N", value_parser = rounds, allow_negative_numbers = true)]
    pub(crate) rounds: Option<NonZeroU64>,

    /// Say this; {round} stands for the number of the interval and {id} for the sender's peer id.
    #[arg(long, value_name = "TEXT", default_value = message::DEFAULT, value_parser = template, allow_hyphen_values = true)]
    pub(crate) message: Template,

    /// Print one JSON object a line, and nothing else on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the arguments ask for; `None` if it was help, and is given.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Cli>, Failure> {
    match Cli::try_parse_from(args) {
        Ok(cli) => Ok(Some(cli)),
        Err(error) if !error.use_stderr() => {
            // Nobody is left to tell if stdout is closed.
            let _ = error.print();
            Ok(None)
        }
        Err(error) => Err(Failure::usage(sentence(&error))),
    }
}

/// clap says what is wrong in several lines.
fn sentence(error: &clap::Error) -> String {
    let value_of = |kind| match error.get(kind) {
        Some(ContextValue::String(value)) => Some(value.as_str()),
        _ => None,
    };
    let flag = match value_of(ContextKind::InvalidArg).unwrap_or_default() {
        "<NODES>" => "swarm",
        named => named.split(' ').next().unwrap_or(named),
    };
    let value = value_of(ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::ValueValidation if error.source().is_some() => {
            let wants = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{flag} wants {wants}, not `{value}`")
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("{flag} wants a value, and none was given"),
        ErrorKind::ArgumentConflict if flag == "--identity" || flag == "--seed" => {
            "--identity wants no --seed beside it: each says who the node is".into()
        }
        ErrorKind::MissingRequiredArgument => "swarm wants a number of nodes from 1 to 100".into(),
        ErrorKind::UnknownArgument => format!("there is no `{flag}` here; --help says what there is"),
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("{}; --help says what there is", first.strip_prefix("error: ").unwrap_or(first))
        }
    }
}

fn rendezvous(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a text that peers have in common".into()) } else { Ok(text.into()) }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a whole number, where 0 is a random identity".into())
}

fn peer(text: &str) -> Result<Multiaddr, String> {
    let wanted = || "a multiaddr that ends with the peer's id, like /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW..".to_owned();
    let address: Multiaddr = text.parse().map_err(|_| wanted())?;
    match address.iter().last() {
        Some(Protocol::P2p(_)) => Ok(address),
        _ => Err(wanted()),
    }
}

fn protocol_id(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.into()) } else { Err("a protocol id, which begins with a /".into()) }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port number from 0 to 65535, where 0 is any free port".into())
}

fn nodes(text: &str) -> Result<usize, String> {
    let nodes = text.parse().ok().filter(|nodes| (1..=MAX_NODES).contains(nodes));
    nodes.ok_or_else(|| format!("a number of nodes from 1 to {MAX_NODES}"))
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).ok();
    interval
        .filter(|interval| (SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(interval))
        .ok_or_else(|| "a duration from 1ms to 1day, written like 500ms or 2s".into())
}

fn rounds(text: &str) -> Result<NonZeroU64, String> {
    text.parse().map_err(|_| "a number of rounds, 1 or more".into())
}

// clap wants a `Result`.
#[allow(clippy::unnecessary_wraps)]
fn template(text: &str) -> Result<Template, String> {
    Ok(Template::new(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

    fn parsed(args: &[&str]) -> Result<Cli, String> {
        let args = ["echo-demo"].iter().chain(args).map(OsString::from);
        parse(args).map(Option::unwrap).map_err(|failure| failure.sentence().to_owned())
    }

    #[test]
    fn the_definition_holds_together() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_the_go_program_s() {
        let node = parsed(&[]).unwrap().node;
        assert_eq!((node.rendezvous.as_str(), node.protocolid.as_str()), ("ldej/echo", "/p2p/rpc/ldej"));
        assert_eq!((node.seed, node.port, node.peer.len(), node.identity), (0, 0, 0, None));
        assert_eq!((node.echo.interval, node.echo.rounds, node.echo.json), (Duration::from_secs(1), None, false));
    }

    #[test]
    fn peers_can_be_given_several_times() {
        assert_eq!(parsed(&["--peer", PEER, "--peer", PEER]).unwrap().node.peer.len(), 2);
    }

    #[test]
    fn durations_are_written_for_people() {
        for (text, millis) in [("500ms", 500), ("2s", 2000), ("1m 30s", 90_000), ("1day", 86_400_000)] {
            assert_eq!(parsed(&["--interval", text]).unwrap().node.echo.interval, Duration::from_millis(millis));
        }
    }

    #[test]
    fn a_swarm_has_its_own_arguments() {
        let cli = parsed(&["swarm", "3", "--rounds", "4", "--json"]).unwrap();
        assert!(cli.json());
        let Some(Command::Swarm(swarm)) = cli.command else { panic!("{cli:?}") };
        assert_eq!((swarm.nodes, swarm.echo.rounds.map(NonZeroU64::get)), (3, Some(4)));
    }

    #[test]
    fn what_is_wrong_is_one_sentence_that_names_the_flag_and_what_it_wants() {
        let no_peer = "/ip4/127.0.0.1/tcp/4001";
        for (args, start, wants) in [
            (&["--port", "99999"][..], "--port wants a port number from 0 to 65535", "`99999`"),
            (&["--port", "-1"], "--port wants", "`-1`"),
            (&["--port=-1"], "--port wants", "`-1`"),
            (&["--port", ""], "--port wants", "``"),
            (&["--port"], "--port wants a value", ""),
            (&["--peer", no_peer], "--peer wants a multiaddr that ends with the peer's id", no_peer),
            (&["--peer", "nonsense"], "--peer wants", "`nonsense`"),
            (&["--protocolid", "p2p"], "--protocolid wants a protocol id, which begins with a /", "`p2p`"),
            (&["--rendezvous", ""], "--rendezvous wants a text", "``"),
            (&["--seed", "x"], "--seed wants a whole number", "`x`"),
            (&["--seed", "1", "--identity", "f"], "--identity wants no --seed", ""),
            (&["--interval", "soon"], "--interval wants a duration", "`soon`"),
            (&["--interval", "0s"], "--interval wants a duration", "`0s`"),
            (&["--interval", "99999999999years"], "--interval wants a duration", "years"),
            (&["--rounds", "0"], "--rounds wants a number of rounds, 1 or more", "`0`"),
            (&["swarm", "0"], "swarm wants a number of nodes from 1 to 100", "`0`"),
            (&["swarm", "101"], "swarm wants a number of nodes from 1 to 100", "`101`"),
            (&["swarm", "-3"], "swarm wants a number of nodes from 1 to 100", "`-3`"),
            (&["swarm"], "swarm wants a number of nodes from 1 to 100", ""),
            (&["swarm", "3", "--port", "1"], "there is no `--port` here", "--help"),
            (&["--nonsense"], "there is no `--nonsense` here", "--help"),
            (&["nonsense"], "unrecognized subcommand 'nonsense'", "--help"),
            (&["--port", "1", "--port", "2"], "the argument '--port <PORT>' cannot be used multiple times", ""),
        ] {
            let sentence = parsed(args).unwrap_err();
            assert!(sentence.starts_with(start) && sentence.contains(wants), "{args:?}: {sentence}");
            assert!(!sentence.contains('\n'), "{args:?}: {sentence}");
        }
    }
}
