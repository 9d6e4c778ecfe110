//! The page on the architecture speaks of what is there.

use std::path::Path;

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
