//! go-libp2p-gorpc in Go: a process of its own that holds both ends, and measures itself as the workers do.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

use super::{Error, Transport};
use crate::load::{Figures, Work};

/// Builds it, where there is a Go.
///
/// # Errors
/// If there is none, or it can't be built.
pub fn build(target: &Path) -> Result<PathBuf, Error> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
    let program = target.join("bench-gorpc");
    let built =
        Command::new("go").args(["build", "-mod=readonly", "-o"]).arg(&program).arg(".").current_dir(source).output();
    let built = built.map_err(|error| format!("no Go: {error}"))?;
    if !built.status.success() {
        return Err(format!("it can't be built: {}", String::from_utf8_lossy(&built.stderr)).into());
    }
    Ok(program)
}

#[derive(Debug, Deserialize)]
struct Measured {
    calls_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    cpu_us_per_call: f64,
    version: String,
}

/// A Go server in a process of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct GoServer {
    child: Child,
    /// Where it is.
    pub address: String,
}

impl GoServer {
    /// Starts one.
    ///
    /// # Errors
    /// If the program fails.
    pub fn start(program: &Path, transport: Transport) -> Result<GoServer, Error> {
        let mut child = Command::new(program)
            .args(["-serve", "-transport", transport.name()])
            .env("GOMAXPROCS", "2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut address)?;
        }
        Ok(GoServer { child, address: address.trim().to_owned() })
    }
}

impl Drop for GoServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures calls at the server of this address, or with both ends in the program's process, and says the version.
///
/// # Errors
/// If the program fails.
pub fn measure(
    program: &Path,
    transport: Transport,
    address: Option<&str>,
    work: Work,
) -> Result<(Figures, String), Error> {
    let at = address.map(|address| ["-connect", address]);
    let output = Command::new(program)
        .args(at.into_iter().flatten())
        .args([
            "-transport",
            transport.name(),
            "-bytes",
            &work.bytes.to_string(),
            "-callers",
            &work.callers.to_string(),
        ])
        .args(["-seconds", &work.time.as_secs_f64().to_string(), "-warm", "0.2"])
        // As the others have two threads.
        .env("GOMAXPROCS", "2")
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let measured: Measured = serde_json::from_slice(&output.stdout)?;
    let figures = Figures {
        calls_per_s: measured.calls_per_s,
        p50_us: measured.p50_us,
        p99_us: measured.p99_us,
        p999_us: measured.p999_us,
        cpu_us_per_call: Some(measured.cpu_us_per_call),
        allocs_per_call: None,
    };
    Ok((figures, measured.version))
}
