//! Peers in Go: built once, started as processes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// Why nothing in Go can be tried here, in one line. `None` if it can.
pub fn missing() -> Option<&'static str> {
    static MISSING: LazyLock<Option<String>> = LazyLock::new(|| {
        let version = Command::new("go").arg("version").stdin(Stdio::null()).output();
        match version {
            Ok(answer) if answer.status.success() => None,
            Ok(answer) => Some(format!("`go version` fails: {}", String::from_utf8_lossy(&answer.stderr).trim())),
            Err(error) => Some(format!("Go can't be started, so nothing is tried with Go peers: {error}")),
        }
    });
    MISSING.as_deref()
}

/// The Go peers of today: `server`, `client` and `echo`.
///
/// # Panics
///
/// If it can't be built.
pub fn interop() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| build("go"));
    &BUILT
}

/// The echo node with the libraries of 2021.
///
/// # Panics
///
/// If it can't be built.
pub fn echo_of_2021() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| build("go2021"));
    &BUILT
}

/// The program of a module under `tests/interop`. Go builds nothing twice.
fn build(module: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(module);
    // Two above the test program, which is in the target directory's `debug/deps`.
    let test = std::env::current_exe().expect("this program is a file");
    let program = test.ancestors().nth(2).expect("it is in a directory").join(format!("interop-{module}"));
    let built = Command::new("go")
        .args(["build", "-mod=readonly", "-o"])
        .args([&program, Path::new(".")])
        .current_dir(&source)
        .stdin(Stdio::null())
        .output()
        .expect("Go can be started");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{} can't be built:\n{said}", source.display());
    program
}
