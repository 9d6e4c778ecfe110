//! Processes of their own for what needs a clean one: the same program, with other arguments.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{Error, discovery, memory};

/// The first argument of such a process; what follows says what it is to do.
pub const ARGUMENT: &str = "child";

/// What such a process does. `arguments` are those behind [`ARGUMENT`].
///
/// # Errors
/// If the arguments make no sense, or what they mean fails.
pub async fn run(arguments: &[String]) -> Result<(), Error> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["discovery", nodes, carrier] => discovery::child(nodes.parse()?, carrier).await,
        ["memory", kind, connections] => memory::child(kind, connections.parse()?).await,
        ["hub", kind] => memory::hub::run(kind).await,
        other => Err(format!("no child does {other:?}").into()),
    }
}

/// A running one: it is asked and answers by lines of JSON. It is killed when it is dropped.
pub(super) struct Process {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(super) fn start(arguments: &[&str]) -> Result<Self, Error> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (input, output) = child.stdin.take().zip(child.stdout.take()).ok_or("a child has no pipes")?;
        Ok(Process { _child: child, input, output: BufReader::new(output).lines() })
    }

    /// The next line that it says.
    pub(super) async fn hear(&mut self) -> Result<Value, Error> {
        let line = self.output.next_line().await?.ok_or("a child ended without an answer")?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Asks for one line.
    pub(super) async fn ask(&mut self) -> Result<Value, Error> {
        self.input.write_all(b"\n").await?;
        self.input.flush().await?;
        self.hear().await
    }
}
