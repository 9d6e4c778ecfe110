//! The public interface of p2prpc as a list, read from what `cargo doc -p p2prpc --all-features --no-deps` has written, and compared with the
//! one in the repository. To be run at the root: `cargo run -p p2prpc-tests --bin public-api`, with `--write` to write it anew.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::{env, fs};

/// The members of an item begin with these.
const MEMBERS: [&str; 6] =
    ["method.", "tymethod.", "variant.", "structfield.", "associatedconstant.", "associatedtype."];
/// What implements traits comes behind these, and is said by the traits.
const ENDS: [&str; 2] = ["id=\"trait-implementations\"", "id=\"synthetic-implementations\""];

fn main() -> Result<(), Box<dyn Error>> {
    let docs = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from).join("doc/p2prpc");
    let mut items = BTreeSet::new();
    list(&docs, "p2prpc", &mut items).map_err(|error| format!("{}: {error}: run cargo doc first", docs.display()))?;
    let rustdoc = String::from_utf8(Command::new("rustdoc").arg("--version").output()?.stdout)?;
    let rustdoc = rustdoc.split_whitespace().nth(1).ok_or("rustdoc has a version")?;
    let now: String = items.iter().map(|item| format!("{item}\n")).collect();
    let now = format!("rustdoc {rustdoc}\n{now}");
    let file = Path::new("p2prpc/public-api.txt");
    if env::args().any(|arg| arg == "--write") {
        fs::write(file, now)?;
        return Ok(());
    }
    let before = fs::read_to_string(file)?;
    let (version, before) = before.split_once('\n').ok_or("the list begins with a version")?;
    if version != format!("rustdoc {rustdoc}") {
        eprintln!("The list is of {version}, which writes otherwise than {rustdoc}: it is not compared.");
        return Ok(());
    }
    let known: BTreeSet<&str> = before.lines().collect();
    let gone: Vec<_> = known.iter().filter(|item| !items.contains(**item)).map(|item| format!("- {item}")).collect();
    let new: Vec<_> =
        items.iter().filter(|item| !known.contains(item.as_str())).map(|item| format!("+ {item}")).collect();
    if gone.is_empty() && new.is_empty() {
        return Ok(());
    }
    for line in gone.iter().chain(&new) {
        println!("{line}");
    }
    eprintln!(
        "The public interface is another. If that is meant, write it: cargo run -p p2prpc-tests --bin public-api -- --write"
    );
    process::exit(1);
}

/// The items of a module, and of those in it.
fn list(directory: &Path, path: &str, items: &mut BTreeSet<String>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| format!("{name:?} is no name of an item"))?;
        // What is unstable may change.
        if path == "p2prpc" && name == "wire" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{path}::{name}"), items)?;
            continue;
        }
        let mut parts = name.split('.');
        if let (Some(kind), Some(item), Some("html"), None) = (parts.next(), parts.next(), parts.next(), parts.next()) {
            let page = fs::read_to_string(entry.path())?;
            // Where an item of a private module is found instead.
            if !page.contains("http-equiv=\"refresh\"") {
                page_of(&page, kind, &format!("{path}::{item}"), items);
            }
        }
    }
    Ok(())
}

fn page_of(page: &str, kind: &str, item: &str, items: &mut BTreeSet<String>) {
    let declaration = between(page, "<pre class=\"rust item-decl\"><code>", "</code></pre>").map(text);
    // What a struct or an enum holds is in its members.
    let declaration = declaration.filter(|_| matches!(kind, "fn" | "type" | "constant" | "trait"));
    items.insert(match declaration {
        Some(declaration) => format!("{kind} {item}: {}", declaration.split(" { ").next().unwrap_or_default()),
        None => format!("{kind} {item}"),
    });
    let end = ENDS.iter().filter_map(|end| page.find(end)).min().unwrap_or(page.len());
    for (at, _) in page[..end].match_indices("id=\"") {
        let rest = &page[at + "id=\"".len()..end];
        let Some((id, rest)) = rest.split_once('"') else { continue };
        if !MEMBERS.iter().any(|member| id.starts_with(member)) || id.matches('.').count() > 1 {
            continue;
        }
        let header = between(rest, "code-header\">", "</h").or_else(|| between(rest, "<code>", "</code>"));
        items.insert(format!("{item}: {}", header.map_or_else(|| id.to_owned(), text)));
    }
}

fn between<'a>(page: &'a str, start: &str, end: &str) -> Option<&'a str> {
    page.split_once(start)?.1.split_once(end).map(|(inner, _)| inner)
}

/// Without tags, and with one space where there is white space.
fn text(html: &str) -> String {
    let mut text = String::new();
    let mut parts = html.split('<');
    text.extend(parts.next());
    text.extend(parts.filter_map(|part| part.split_once('>').map(|(_, text)| text)));
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&nbsp;", " ").replace("ⓘ", "").replace("&amp;", "&").split_whitespace().collect::<Vec<_>>().join(" ")
}
