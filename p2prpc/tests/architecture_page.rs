//! The page on the architecture speaks of what is there.

use std::path::{Path, PathBuf};

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md")).expect("the page")
}

#[test]
fn each_file_that_the_page_names_is_there() {
    let (src, page) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), page());
    let words = page.split(|c: char| !c.is_ascii_alphanumeric() && !"/_.".contains(c));
    let files: Vec<&str> = words.map(|word| word.trim_end_matches('.')).filter(|word| word.ends_with(".rs")).collect();
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        assert!(src.join(file).is_file(), "{file} isn't in src");
    }
}

#[test]
fn each_directory_has_a_row() {
    let (src, page) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), page());
    for entry in std::fs::read_dir(src).expect("src") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("its type").is_dir() {
            let room = format!("`{}`", entry.file_name().to_string_lossy());
            assert!(page.contains(&room), "{room} has no row");
        }
    }
}

/// The rows of the table of modules, from the top, each with its modules.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let table = page.lines().skip_while(|line| !line.starts_with("| modules of")).skip(2);
    let rows = table.map_while(|line| line.strip_prefix("| ")?.split_once(" | "));
    rows.map(|(modules, _)| modules.split(", ").map(|name| name.trim_matches('`')).collect()).collect()
}

/// The code of a file without its comments and its tests.
fn code_of(file: &Path) -> String {
    let text = std::fs::read_to_string(file).expect("a source");
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let is_test =
            path.file_stem().is_some_and(|stem| ["tests", "fuzz", "fuzzing"].iter().any(|test| stem == *test));
        if is_test {
            continue;
        } else if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn imports_point_down_the_table() {
    let (src, page) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), page());
    let rows = rows(&page);
    // `node/net` is below `node`. A peer's sessions stand on its streams, and both on what else there is of a peer.
    let row_of = |path: &str| {
        let path = if path.starts_with("peer/") { "peer" } else { path };
        let holds =
            |row: &Vec<&str>| row.iter().any(|module| path == *module || path.starts_with(&format!("{module}/")));
        rows.iter().rposition(holds)
    };
    let mut files = Vec::new();
    sources(&src, &mut files);
    let (mut seen, mut upward) = (0, Vec::new());
    for file in files {
        let path = file.strip_prefix(&src).expect("within src").with_extension("");
        let path = path.to_str().expect("a name").trim_end_matches("/mod");
        if ["lib", "docs"].contains(&path) {
            continue;
        }
        let row = row_of(path).unwrap_or_else(|| panic!("`{path}` has no row"));
        for import in code_of(&file).replace("in crate::", "").split("crate::").skip(1) {
            let end = import.find(|c: char| !c.is_ascii_lowercase() && c != '_' && c != ':').unwrap_or(import.len());
            let imported = import[..end].replace("::", "/");
            // What begins otherwise is a macro's or what lib.rs has of one of the modules.
            if let Some(to) = row_of(&imported) {
                seen += 1;
                if to < row {
                    upward.push(format!("{path} uses {imported}"));
                }
            }
        }
    }
    assert!(seen > 300, "only {seen} imports");
    assert!(upward.is_empty(), "{upward:#?}");
}
