//! Each misuse of `#[p2p_service]` is reported in our words, at the token that is wrong.
//!
//! Each file in `ui` is compiled by itself. Behind `//~` (for its own line) or `//~^` (for the line above, and so on) it
//! says which token the compiler is to underline, and what it is to say there. No other error may come.

#![allow(missing_docs)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;
use std::{env, fs, thread};

use serde_json::Value;

/// The least number of misuses there are cases for.
const CASES: usize = 45;

#[test]
fn misuses_are_told() {
    let ui = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let compiler = Compiler::find(&ui.join("control.rs"));
    let of_feature = ui.join(if cfg!(feature = "gorpc") { "gorpc" } else { "no_gorpc" });
    let entries = fs::read_dir(&ui).unwrap().chain(fs::read_dir(of_feature).unwrap());
    let mut cases: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("control.rs"));
    cases.sort();
    assert!(cases.len() >= CASES, "{} has {} cases only", ui.display(), cases.len());

    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(report) = check(&compiler, case) {
                        wrong.lock().unwrap().push(report);
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// What 2024 reserves may be a name in an edition before it.
#[test]
fn services_of_2021_compile() {
    let ui = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let compiler = Compiler { edition: "2021", ..Compiler::find(&ui.join("control.rs")) };
    let errors = compiler.errors_of(&ui.join("edition/of_2021.rs"));
    assert!(errors.is_empty(), "{errors:#?}");
}

fn check(compiler: &Compiler, case: &Path) -> Result<(), String> {
    let source = fs::read_to_string(case).unwrap();
    let mut expected = Diagnostic::expected_in(&source);
    let mut unexpected = compiler.errors_of(case);
    expected.retain(|expected| match unexpected.iter().position(|found| expected.matches(found)) {
        Some(index) => {
            unexpected.remove(index);
            false
        }
        None => true,
    });
    if expected.is_empty() && unexpected.is_empty() {
        return Ok(());
    }
    let name = case.file_name().unwrap_or_default().to_string_lossy();
    Err(format!("{name}\n  does not say: {expected:#?}\n  but says: {unexpected:#?}"))
}

/// Something the compiler says, or is to say.
#[derive(Debug)]
struct Diagnostic {
    line: usize,
    token: String,
    message: String,
}

impl Diagnostic {
    fn expected_in(source: &str) -> Vec<Self> {
        let in_line = |(number, line): (usize, &str)| {
            let (_, note) = line.split_once("//~")?;
            let above = note.chars().take_while(|c| *c == '^').count();
            let (token, message) = note[above..].trim().split_once(" => ").expect("a token, `=>` and a message");
            Some(Diagnostic { line: number + 1 - above, token: token.to_owned(), message: message.to_owned() })
        };
        source.lines().enumerate().filter_map(in_line).collect()
    }

    fn matches(&self, found: &Diagnostic) -> bool {
        self.line == found.line && self.token == found.token && found.message.contains(&self.message)
    }
}

/// A compiler that finds the library as it was built for this test.
struct Compiler {
    dependencies: PathBuf,
    library: PathBuf,
    output: tempfile::TempDir,
    edition: &'static str,
}

impl Compiler {
    /// Several builds of the library may lie there, with other features or of another day: the newest that can be used counts.
    fn find(control: &Path) -> Self {
        let dependencies = env::current_exe().unwrap().parent().unwrap().to_owned();
        let mut libraries: Vec<(SystemTime, PathBuf)> = fs::read_dir(&dependencies)
            .unwrap()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().into_string().ok()?;
                let is_library = name.starts_with("libp2prpc-") && name.ends_with(".rlib");
                Some((entry.metadata().ok()?.modified().ok()?, entry.path())).filter(|_| is_library)
            })
            .collect();
        libraries.sort();
        let mut reports = Vec::new();
        while let Some((_, library)) = libraries.pop() {
            let output = tempfile::tempdir().unwrap();
            let compiler = Compiler { dependencies: dependencies.clone(), library, output, edition: "2024" };
            match compiler.errors_of(control) {
                errors if errors.is_empty() => return compiler,
                errors => reports.push(format!("{}: {errors:#?}", compiler.library.display())),
            }
        }
        panic!("no library in {} can be used:\n{}", dependencies.display(), reports.join("\n"));
    }

    fn errors_of(&self, source: &Path) -> Vec<Diagnostic> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
        let mut library = OsString::from("p2prpc=");
        library.push(&self.library);
        let mut dependencies = OsString::from("dependency=");
        dependencies.push(&self.dependencies);
        let output = Command::new(rustc)
            .args(["--edition", self.edition, "--crate-type", "lib", "--emit", "metadata", "--error-format", "json"])
            .arg("--out-dir")
            .arg(self.output.path())
            .arg("-L")
            .arg(dependencies)
            .arg("--extern")
            .arg(library)
            .arg(source)
            .output()
            .expect("the compiler runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<_> = said.lines().filter_map(error).collect();
        assert_eq!(output.status.success(), errors.is_empty(), "{}: {said}", source.display());
        errors
    }
}

/// The error in one line of what the compiler says, if there is one that has a place.
fn error(line: &str) -> Option<Diagnostic> {
    let said: Value = serde_json::from_str(line).ok()?;
    if said["level"] != "error" {
        return None;
    }
    let spans = said["spans"].as_array()?;
    let span = spans.iter().find(|span| span["is_primary"] == true)?;
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap_or(0)).unwrap_or(0);
    let text = &span["text"][0];
    let (start, end) = (number(&text["highlight_start"]), number(&text["highlight_end"]));
    let token = text["text"].as_str()?.chars().skip(start - 1).take(end - start).collect();
    Some(Diagnostic { line: number(&span["line_start"]), token, message: said["message"].as_str()?.to_owned() })
}
