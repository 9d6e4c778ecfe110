//! Structs whose fields have other names in Go.

use std::io;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{CodecError, Gorpc, encode};

#[derive(Debug, PartialEq, Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    note: String,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Peers {
    peers: Vec<Version>,
}

#[derive(Serialize, Deserialize)]
struct One<T> {
    one: T,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Two {
    first_number: i64,
    second_number: i64,
}

fn written(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out, 1 << 20).unwrap();
    out
}

fn strictly<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<T, CodecError> {
    Gorpc.decode_reply(&written(&value), "Strict.Method", true)
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(run: impl FnOnce()) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, run);
    log.text()
}

#[test]
fn by_the_switch_it_is_an_error_that_names_both() {
    let error = strictly::<Version>(json!({"Version": "1.2", "Note": "x"})).unwrap_err().to_string();
    for part in ["`Version`", "\"version\"", "\"Note\", \"Version\"", "PascalCase"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(strictly::<Peers>(json!({"peers": [{"version": "1"}, {"Version": "2"}]})).is_err());
    let mut args = Vec::new();
    Gorpc.encode_args(&json!({"FirstNumber": 1, "Second": 2}), &mut args, 100).unwrap();
    let error = Gorpc.decode_args::<Two>(&args, "Strict.Method", true).unwrap_err().to_string();
    assert!(error.contains("\"second_number\"") && error.contains("\"Second\""), "{error}");
    let mut args = Vec::new();
    Gorpc.encode_args(&One { one: json!({"Version": "2"}) }, &mut args, 100).unwrap();
    assert!(Gorpc.decode_args::<One<Version>>(&args, "Strict.Method", true).is_err());
}

#[test]
fn what_go_leaves_out_and_what_is_newer_there_is_none() {
    let version = |version: &str| Version { version: version.into(), note: String::new() };
    assert_eq!(strictly(json!({})), Ok(version("")));
    assert_eq!(strictly(json!({"version": "1", "newer": true})), Ok(version("1")));
    assert_eq!(strictly(json!({"newer": [{"Version": 1}], "version": "1"})), Ok(version("1")));
    let peers = Peers { peers: vec![version(""), version("1")] };
    assert_eq!(strictly(json!({"peers": [{}, {"version": "1", "newer": true}]})), Ok(peers));
    let mut args = Vec::new();
    let two = Two { first_number: 1, second_number: 2 };
    Gorpc.encode_args(&two, &mut args, 100).unwrap();
    assert_eq!(Gorpc.decode_args(&args, "Strict.Method", true), Ok(two));
}

#[test]
fn without_it_it_is_said_once_a_method() {
    let wrong = written(&json!({"Version": "1.2"}));
    let said = logged(|| {
        for _ in 0..3 {
            assert_eq!(Gorpc.decode_reply::<Version>(&wrong, "Lenient.Method", false).unwrap().version, "");
        }
    });
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("WARN") && said.contains("Lenient.Method") && said.contains("PascalCase"), "{said}");
    let said = logged(|| drop(Gorpc.decode_reply::<Version>(&wrong, "Lenient.Other", false)));
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn many_and_long_keys_of_a_peer_take_little_room() {
    let keys = (0..1000).map(|n| (format!("{n:04}\u{1b}{}", "x".repeat(1000)), json!(1)));
    let error = strictly::<Version>(keys.collect::<serde_json::Map<_, _>>().into()).unwrap_err().to_string();
    assert!(error.len() < 400 && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn nothing_within_a_value_is_nil_and_alone_it_is_a_struct() {
    assert_eq!(written(&()), [0x80]);
    assert_eq!(written(&vec![()]), [0x91, 0xc0]);
    assert_eq!(written(&One { one: () }), [0x81, 0xa3, b'o', b'n', b'e', 0xc0]);
    assert_eq!(written(&json!({"a": null})), [0x81, 0xa1, b'a', 0xc0]);
    assert_eq!(written(&json!([null, []])), [0x92, 0xc0, 0x90]);
    for args in [written(&()), {
        let mut out = Vec::new();
        Gorpc.encode_args(&One { one: () }, &mut out, 9).unwrap();
        out
    }] {
        assert_eq!(args, [0x80]);
    }
}
