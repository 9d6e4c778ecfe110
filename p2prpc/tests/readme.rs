//! The README's code is code that runs.

#![cfg(feature = "node")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("README.md")
}

/// The blocks of a language, without their fences.
fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    markdown.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

fn without_indentation(code: &str) -> String {
    code.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn example(name: &str) -> std::process::Output {
    let tests = std::env::current_exe().expect("the path of this test");
    let profile = tests.parent().and_then(Path::parent).expect("the target directory");
    Command::new(profile.join("examples").join(name)).output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn each_rust_block_is_part_of_an_example() {
    let examples = ["greeter", "tour", "replicas", "log_tail", "own_node", "go_peers"].map(|name| {
        let path = root().join("p2prpc/examples").join(name).with_extension("rs");
        without_indentation(&std::fs::read_to_string(&path).expect("an example"))
    });
    let blocks = blocks(&readme(), "rust");
    assert!(blocks.len() >= 4);
    for block in blocks {
        let code = without_indentation(&block);
        assert!(examples.iter().any(|example| example.contains(&code)), "no example has this:\n{block}");
    }
}

#[test]
fn the_first_example_is_whole_and_prints_what_the_readme_says() {
    let readme = readme();
    let first = blocks(&readme, "rust").into_iter().next().expect("a first example");
    let greeter = std::fs::read_to_string(root().join("p2prpc/examples/greeter.rs")).expect("greeter.rs");
    assert_eq!(first.trim(), greeter.trim());
    let output = example("greeter");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = blocks(&readme, "text").into_iter().next().expect("its output");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), printed.trim());
}

#[test]
fn the_tour_runs() {
    let output = example("tour");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("the handler says: a message has at most 1000 bytes"));
}

#[test]
fn the_replicas_have_what_a_quorum_was_given() {
    let output = example("replicas");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Some(42)"));
}

#[test]
fn the_logs_are_followed() {
    let output = example("log_tail");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = "started\none\ntwo\nthree\nthere is no line 100 yet\n2 logs";
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), printed);
}

#[test]
fn the_file_arrives_though_the_peer_that_gives_it_goes() {
    let output = example("file_transfer");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "67108864 bytes, all as they were");
}

#[test]
fn the_room_hears_what_is_said() {
    let output = example("chat");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Ben hears Ada: good"));
}

#[test]
fn the_example_with_its_own_swarm_runs() {
    let output = example("own_swarm");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "Hello, Ada!\n['A', 'd', 'a']\nHello, everyone!");
}
