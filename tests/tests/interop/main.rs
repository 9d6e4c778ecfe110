//! Go peers call a node and a node calls Go peers, and a client on js-libp2p calls a node, over loopback. Where there is no Go, or no
//! npm, what needs it is ignored.

mod go_calls_rust;
mod js;
mod lab;
mod rust_calls_go;

use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use p2prpc::prelude::*;
use p2prpc::{Limits, NodeBuilder};
use p2prpc_tests::golang;

/// The application's protocol.
const PROTOCOL: &str = "/interop";
/// For what has no bound of its own: a loaded machine is slow.
const SOON: Duration = Duration::from_secs(60);
/// A test with a body of 8 MiB allows so much.
const BIG_MESSAGE: usize = 16 << 20;
/// The kinds of keys that Go peers have.
const KEYS: [&str; 4] = ["rsa", "ed25519", "ecdsa", "secp256k1"];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = golang::missing();
    if let Some(why) = missing {
        eprintln!("{why}");
    }
    let mut trials = Vec::new();
    for transport in [Transport::Tcp, Transport::Quic] {
        trials.extend(go_calls_rust::trials(transport));
        trials.extend(rust_calls_go::trials(transport));
    }
    let mut trials: Vec<_> = trials.into_iter().map(|trial| trial.with_ignored_flag(missing.is_some())).collect();
    let no_js = js::missing();
    if let Some(why) = &no_js {
        eprintln!("{why}");
    }
    let js = trial("a_client_in_js_written_from_the_specification_is_served".into(), || {
        js::a_client_written_from_the_specification_is_served()
    });
    trials.push(js.with_ignored_flag(no_js.is_some()));
    libtest_mimic::run(&arguments, trials).exit_code()
}

#[derive(Clone, Copy, Debug)]
enum Transport {
    Tcp,
    Quic,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Quic => "quic",
        }
    }

    fn listen(self) -> &'static str {
        match self {
            Transport::Tcp => "/ip4/127.0.0.1/tcp/0",
            Transport::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        }
    }
}

/// A test in a runtime of its own. A panic is its failure.
fn trial<F: Future<Output = ()>>(name: String, test: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(test());
        runtime.shutdown_background();
        Ok(())
    })
}

/// A node that speaks with Go peers.
fn node(transport: Transport) -> NodeBuilder {
    Node::builder().listen(transport.listen()).protocol(PROTOCOL).gorpc(true)
}

fn big_messages() -> Limits {
    let mut limits = Limits::default();
    limits.max_message = BIG_MESSAGE;
    limits
}
