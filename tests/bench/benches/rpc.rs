//! `cargo bench --manifest-path tests/bench/Cargo.toml`: p2prpc beside what a user would pick instead, in one table.
//!
//! Each peer is a process of its own with both ends and two threads, which waits while others are measured. Runs are interleaved, so
//! that a slow minute hits all alike. Progress is on stderr.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use clap::Parser;
use p2prpc_bench::load::{Figures, Work};
use p2prpc_bench::peers::{self, Peer};
use p2prpc_bench::plots;
use p2prpc_bench::report::{Record, Records, apart, calls, goals};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// p2prpc beside what a user would pick instead.
#[derive(Parser)]
struct Options {
    /// One short run of a few points, for a look.
    #[arg(long)]
    quick: bool,
    /// Only this peer: p2prpc, request_response, .. May be given more than once.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Write every figure here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the README's tables here.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Draw how each grows into this directory.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// What `cargo bench` says by itself.
    #[arg(long, hide = true)]
    bench: bool,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Bytes and callers. More callers of large bodies say nothing more: 8 fill the connection.
const POINTS: [(usize, usize); 14] = [
    (64, 1),
    (64, 8),
    (64, 64),
    (64, 256),
    (64, 1024),
    (KIB, 1),
    (KIB, 64),
    (KIB, 256),
    (64 * KIB, 1),
    (64 * KIB, 8),
    (64 * KIB, 64),
    (MIB, 1),
    (MIB, 8),
    (MIB, 64),
];
const QUICK_POINTS: [(usize, usize); 4] = [(64, 1), (64, 64), (64, 256), (MIB, 8)];
/// With each end in a process of its own.
const APART_POINTS: [(usize, usize); 4] = [(64, 1), (64, 64), (64, 256), (MIB, 8)];
const RUNS: usize = 5;
const RUN: Duration = Duration::from_millis(500);
const QUICK_RUN: Duration = Duration::from_millis(300);

fn main() -> Result<()> {
    let options = Options::parse();
    let known = peers::all();
    if let Some(unknown) = options.only.iter().find(|only| known.iter().all(|peer| peer.name != **only)) {
        let names: Vec<_> = known.iter().map(|peer| peer.name).collect();
        return Err(format!("--only knows no {unknown}: there are {}", names.join(", ")).into());
    }
    let wanted = |peer: &Peer| options.only.is_empty() || options.only.iter().any(|only| only == peer.name);
    let peers: Vec<_> = known.into_iter().filter(wanted).collect();

    let mut bench = Bench {
        records: Records::default(),
        quick: options.quick,
        versions: HashMap::new(),
        #[cfg(feature = "gorpc")]
        gorpc: None,
    };
    bench.together(&peers)?;
    bench.allocations(&peers)?;
    if !options.quick {
        bench.apart(&peers)?;
    }
    #[cfg(feature = "gorpc")]
    bench.mixed()?;
    let tables = [calls(&peers, &bench.records), goals(&bench.records), apart(&bench.records)];
    let tables = tables.into_iter().filter(|table| !table.rows.is_empty()).collect::<Vec<_>>();
    for table in &tables {
        println!("{}", table.text());
    }

    let mut all = json!({ "machine": machine(), "versions": bench.versions, "records": bench.records });
    if options.only.is_empty() || options.only.iter().any(|only| only == "p2prpc") {
        let extras = extras(options.quick)?;
        for part in ["multicall", "cold_call", "memory", "discovery"] {
            all[part] = extras[part].clone();
        }
    }
    if let Some(file) = options.json {
        std::fs::write(file, serde_json::to_string_pretty(&all)?)?;
    }
    if let Some(file) = options.markdown {
        let tables: Vec<_> = tables.iter().map(|table| table.markdown()).collect();
        std::fs::write(file, tables.join("\n"))?;
    }
    if let Some(directory) = options.plots {
        plots::draw(&all, &directory)?;
    }
    Ok(())
}

struct Bench {
    records: Records,
    quick: bool,
    versions: HashMap<String, String>,
    #[cfg(feature = "gorpc")]
    gorpc: Option<PathBuf>,
}

impl Bench {
    fn runs(&self) -> usize {
        if self.quick { 1 } else { RUNS }
    }

    fn work(&self, (bytes, callers): (usize, usize)) -> Work {
        Work { bytes, callers, time: if self.quick { QUICK_RUN } else { RUN } }
    }

    /// Both ends of each in one process.
    fn together(&mut self, peers: &[Peer]) -> Result<()> {
        let mut running: Vec<(Peer, Option<Worker>)> = Vec::new();
        for peer in peers {
            let worker = if peer.foreign { None } else { Some(Worker::start("worker", *peer, &["both"])?) };
            running.push((*peer, worker));
        }
        let points = if self.quick { &QUICK_POINTS[..] } else { &POINTS };
        for point in points {
            self.measure(&mut running, 1, *point)?;
        }
        Ok(())
    }

    /// A process for each end: two of each are enough, and the bare ones.
    fn apart(&mut self, peers: &[Peer]) -> Result<()> {
        let (mut running, mut servers) = (Vec::new(), Vec::new());
        for peer in peers.iter().filter(|peer| !peer.foreign && peer.variant != "cbor") {
            let server = Worker::start("worker", *peer, &["serve"])?;
            running.push((*peer, Some(Worker::start("worker", *peer, &["call", &server.address])?)));
            servers.push(server);
        }
        for point in APART_POINTS {
            self.measure(&mut running, 2, point)?;
        }
        Ok(())
    }

    fn measure(
        &mut self,
        running: &mut [(Peer, Option<Worker>)],
        processes: usize,
        point: (usize, usize),
    ) -> Result<()> {
        let work = self.work(point);
        let mut figures: Vec<Vec<Figures>> = running.iter().map(|_| Vec::new()).collect();
        for run in 1..=self.runs() {
            for ((peer, worker), figures) in running.iter_mut().zip(&mut figures) {
                let (bytes, callers) = point;
                eprintln!("{bytes} B, {callers} callers, run {run} of {}: {}", self.runs(), peer.title());
                match worker {
                    // A peer that failed at this once would again.
                    Some(_) if figures.len() + 1 < run => {}
                    Some(worker) => match worker.measure(work) {
                        Ok(measured) => figures.push(measured),
                        Err(error) => {
                            eprintln!("{} fails at {bytes} B, {callers} callers: {error}", peer.title());
                            figures.clear();
                            *worker = worker.again()?;
                        }
                    },
                    None => figures.extend(self.foreign(*peer, work)),
                }
            }
        }
        for ((peer, _), figures) in running.iter().zip(&figures) {
            let version = self.version(*peer);
            self.records.0.push(Record::new(*peer, version, processes, work, figures));
        }
        Ok(())
    }

    /// A peer that is a program of its own. Where it can't be had its row says so.
    #[cfg(feature = "gorpc")]
    fn foreign(&mut self, peer: Peer, work: Work) -> Option<Figures> {
        if self.versions.get("gorpc").is_some_and(|version| version.starts_with("not measured")) {
            return None;
        }
        let measured = (|| {
            let program = match &self.gorpc {
                Some(program) => program.clone(),
                None => peers::gorpc::build(target())?,
            };
            self.gorpc = Some(program.clone());
            peers::gorpc::measure(&program, peer.transport, None, work)
        })();
        match measured {
            Ok((figures, version)) => {
                self.versions.insert("gorpc".into(), version);
                Some(figures)
            }
            Err(error) => {
                eprintln!("gorpc: {error}");
                self.versions.insert("gorpc".into(), format!("not measured: {error}"));
                None
            }
        }
    }

    #[cfg(not(feature = "gorpc"))]
    fn foreign(&mut self, _: Peer, _: Work) -> Option<Figures> {
        None
    }

    /// Rust and Go at the two ends, beside Go at both.
    #[cfg(feature = "gorpc")]
    fn mixed(&mut self) -> Result<()> {
        use peers::gorpc::{GoServer, measure};
        use peers::{MIXED, Transport};

        let Some(program) = self.gorpc.clone() else { return Ok(()) };
        let [to_go, to_rust] = MIXED;
        let go = GoServer::start(&program, Transport::Tcp)?;
        let mut caller = Worker::start("worker", to_go, &["call", &go.address])?;
        let rust = Worker::start("worker", to_rust, &["serve"])?;
        let gorpc = peers::all().into_iter().find(|peer| peer.name == "gorpc").ok_or("gorpc is compiled in")?;
        for point in APART_POINTS {
            let work = self.work(point);
            let mut figures: [Vec<Figures>; 3] = Default::default();
            for run in 1..=self.runs() {
                eprintln!("{} B, {} callers, run {run} of {}: Rust and Go", work.bytes, work.callers, self.runs());
                figures[0].push(caller.measure(work)?);
                figures[1].push(measure(&program, Transport::Tcp, Some(&rust.address), work)?.0);
                figures[2].push(measure(&program, Transport::Tcp, Some(&go.address), work)?.0);
            }
            for (peer, figures) in [to_go, to_rust, gorpc].into_iter().zip(&figures) {
                let version = self.version(peer);
                self.records.0.push(Record::new(peer, version, 2, work, figures));
            }
        }
        Ok(())
    }

    /// In processes that count them, which makes them slower: nothing else is measured there.
    fn allocations(&mut self, peers: &[Peer]) -> Result<()> {
        for peer in peers.iter().filter(|peer| !peer.foreign) {
            eprintln!("allocations: {}", peer.title());
            let mut worker = Worker::start("worker-counted", *peer, &["both"])?;
            for point in if self.quick { &QUICK_POINTS[1..2] } else { &QUICK_POINTS[..] } {
                let work = Work { time: QUICK_RUN, ..self.work(*point) };
                // The first run makes room that is kept.
                worker.measure(work)?;
                let allocs = worker.measure(work)?.allocs_per_call;
                let record = self.records.0.iter_mut().find(|record| {
                    (record.name, record.variant, record.transport) == (peer.name, peer.variant, peer.transport.name())
                        && (record.bytes, record.callers) == *point
                });
                if let Some(record) = record {
                    record.allocs_per_call = allocs;
                }
            }
        }
        Ok(())
    }

    fn version(&mut self, peer: Peer) -> String {
        let package = match peer.name {
            "p2prpc_to_gorpc" | "gorpc_to_p2prpc" => "p2prpc",
            "p2prpc" | "tarpc" | "irpc" | "tonic" => peer.name,
            "request_response" => "libp2p-request-response",
            "gorpc" => return self.versions.get("gorpc").cloned().unwrap_or_default(),
            "floor_raw_tcp" => "tokio",
            _ => "libp2p",
        };
        let version = locked_version(package).unwrap_or_default();
        self.versions.insert(package.into(), version.clone());
        version
    }
}

/// Of the versions that were built: those of `Cargo.lock`.
fn locked_version(package: &str) -> Option<String> {
    let (_, behind) = include_str!("../Cargo.lock").split_once(&format!("name = \"{package}\"\nversion = \""))?;
    behind.split('"').next().map(str::to_owned)
}

/// A process that holds a peer. It ends when it is dropped.
struct Worker {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    address: String,
    /// How it was started.
    program: String,
    peer: Peer,
    role: Vec<String>,
}

impl Worker {
    /// Another one instead of one that has failed.
    fn again(&self) -> Result<Self> {
        let role: Vec<_> = self.role.iter().map(String::as_str).collect();
        Worker::start(&self.program, self.peer, &role)
    }

    fn start(program: &str, peer: Peer, role: &[&str]) -> Result<Self> {
        let role: Vec<String> = role.iter().map(|word| (*word).to_owned()).collect();
        let started_as = program.to_owned();
        let program =
            if program == "worker" { env!("CARGO_BIN_EXE_worker") } else { env!("CARGO_BIN_EXE_worker-counted") };
        let mut child =
            Command::new(program).arg(peer.key()).args(&role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = child.stdin.take().zip(child.stdout.take()).ok_or("a worker has no pipes")?;
        let output = BufReader::new(output).lines();
        let mut worker = Worker { child, input, output, address: String::new(), program: started_as, peer, role };
        let ready = worker.hear()?;
        worker.address = ready["address"].as_str().unwrap_or_default().to_owned();
        Ok(worker)
    }

    fn hear(&mut self) -> Result<Value> {
        let line = self.output.next().ok_or("a worker ended without an answer")??;
        Ok(serde_json::from_str(&line)?)
    }

    fn measure(&mut self, work: Work) -> Result<Figures> {
        writeln!(self.input, "{}", serde_json::to_string(&work)?)?;
        self.input.flush()?;
        Ok(serde_json::from_value(self.hear()?)?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The directory of what cargo built.
#[cfg(feature = "gorpc")]
fn target() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_worker")).parent().expect("a file is in a directory")
}

/// What is not calls a second has a program of its own.
fn extras(quick: bool) -> Result<Value> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("extras.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_extras"));
    command.arg("--json").arg(&file);
    if quick {
        // Those that take a second.
        command.args(["--quick", "--only", "cold_call"]);
    } else {
        command.args(["--runs", "3"]);
    }
    if !command.status()?.success() {
        return Err("extras failed".into());
    }
    Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?)
}

fn machine() -> Value {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    json!({
        "cpu": model.map(|(_, name)| name.trim()),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}
