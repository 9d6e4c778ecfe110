//! A running program, and what it prints.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(unix)]
pub use rustix::process::Signal;

/// Between two looks at what can't be waited for.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Lines as they come. Each is kept.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<(Mutex<Collected>, Condvar)>);

#[derive(Debug, Default)]
struct Collected {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Reads them in a thread.
    pub fn of(source: impl Read + Send + 'static) -> Self {
        let lines = Lines::default();
        let reader = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                reader.lock().lines.push(line);
                reader.0.1.notify_all();
            }
            reader.lock().ended = true;
            reader.0.1.notify_all();
        });
        lines
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.0.0.lock().unwrap()
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// Those that have come.
    pub fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// The first line from `from` on of which `wanted` makes something.
    pub fn find<T>(&self, from: usize, within: Duration, mut wanted: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let end = Instant::now() + within;
        let mut read = self.lock();
        let mut next = from;
        loop {
            while let Some(line) = read.lines.get(next) {
                next += 1;
                if let Some(found) = wanted(line) {
                    return Some(found);
                }
            }
            let left = end.checked_duration_since(Instant::now()).filter(|_| !read.ended)?;
            read = self.0.1.wait_timeout(read, left).unwrap().0;
        }
    }

    /// Waits until no more can come.
    fn wait_for_end(&self) {
        let read = self.lock();
        drop(self.0.1.wait_while(read, |read| !read.ended).unwrap());
    }
}

/// A program that ends with the test.
#[derive(Debug)]
pub struct Program {
    child: Child,
    /// What it says.
    pub out: Lines,
    /// What it complains of.
    pub err: Lines,
}

impl Program {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (Lines::of(child.stdout.take().unwrap()), Lines::of(child.stderr.take().unwrap()));
        Program { child, out, err }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input, which its command has to make a pipe. One that has ended doesn't get it.
    ///
    /// # Panics
    ///
    /// If its standard input is no pipe.
    pub fn say(&self, line: &str) {
        let mut input = self.child.stdin.as_ref().expect("its standard input is a pipe");
        // What waits for its answer says so.
        let _ = writeln!(input, "{line}");
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// If it has ended.
    #[cfg(unix)]
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// The bytes of memory that it takes, where the system tells.
    pub fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }

    /// Ends it where it stands.
    ///
    /// # Panics
    ///
    /// If that can't be.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end, and for all that was printed.
    ///
    /// # Panics
    ///
    /// If it doesn't end in time.
    pub fn end(&mut self, within: Duration) -> ExitStatus {
        let status = end_of(&mut self.child, within).unwrap_or_else(|| panic!("still running: {self}"));
        self.out.wait_for_end();
        self.err.wait_for_end();
        status
    }
}

/// How it ended, if it did.
///
/// # Panics
///
/// If that can't be known.
pub fn end_of(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + within;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    None
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that it printed, for those who want to know why a test failed.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stdout:\n{}\nstderr:\n{}", self.out.all().join("\n"), self.err.all().join("\n"))
    }
}
