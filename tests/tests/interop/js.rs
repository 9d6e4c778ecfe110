//! A client on js-libp2p, written from `docs/wire.md`, calls a node.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use p2prpc::prelude::*;
use serde_json::{Value, json};

use crate::{PROTOCOL, SOON};

/// Why nothing in JavaScript can be tried here. `None` if it can.
pub(crate) fn missing() -> Option<String> {
    match Command::new("npm").arg("--version").stdin(Stdio::null()).output() {
        Ok(answer) if answer.status.success() => None,
        Ok(answer) => Some(format!("`npm --version` fails: {}", String::from_utf8_lossy(&answer.stderr).trim())),
        Err(error) => Some(format!("npm can't be started, so nothing is tried with js-libp2p: {error}")),
    }
}

#[p2p_service]
trait Target {
    async fn echo(&self, cx: &Context, text: String) -> String;
}

struct Echo;

impl Target for Echo {
    async fn echo(&self, cx: &Context, text: String) -> String {
        for (key, value) in cx.metadata().iter() {
            cx.insert_reply_metadata(key, value).expect("it came as metadata");
        }
        text
    }
}

/// The client with its libraries, and a Node.js that is new enough for them. They are installed once.
fn installed() -> io::Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/js");
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).expect("it is in the target directory").join("interop-js");
    fs::create_dir_all(&folder)?;
    let lock = |folder: &Path| fs::read(folder.join("package-lock.json")).unwrap_or_default();
    let done = folder.join("node_modules/.bin/node");
    let current = lock(&source) == lock(&folder) && done.exists();
    for file in ["package.json", "package-lock.json", "client.mjs"] {
        fs::copy(source.join(file), folder.join(file))?;
    }
    if !current {
        let npm = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder).output()?;
        assert!(npm.status.success(), "npm ci: {}", String::from_utf8_lossy(&npm.stderr));
    }
    Ok(folder)
}

pub(crate) async fn a_client_written_from_the_specification_is_served() {
    let folder = installed().expect("npm can be started");
    let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0").protocol(PROTOCOL);
    let server = server.serve(TargetServer::new(Echo)).start().await.expect("a node");
    let address = server.addresses().into_iter().next().expect("it listens");
    let client = tokio::process::Command::new(folder.join("node_modules/.bin/node"))
        .args(["client.mjs", &address.to_string(), &format!("{PROTOCOL}/p2prpc/1")])
        .current_dir(&folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(SOON, client).await.expect("the client ends").expect("it can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let cases: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let refused = |case: &str, id, code, message: &str| json!({ "case": case, "id": id, "code": code, "delivery": 0, "message": message, "metadata": [] });
    assert_eq!(
        cases,
        [
            json!({ "case": "echo", "id": 1, "value": "grüße", "metadata": [] }),
            refused("not served", 2, 2, ""),
            refused("unknown codec", 3, 8, "the peer was built without it"),
            json!({ "case": "unknown key", "id": 4, "value": "k", "metadata": [["mine", "2"]] }),
            json!({ "case": "unknown kinds", "id": 5, "value": "after them", "metadata": [] }),
            json!({ "case": "64 at once", "all": true }),
            json!({ "case": "hello", "came": true }),
        ]
    );
}
