//! What Go writes is read, and written again to the byte.

use serde_json::Value;

use super::golden::{Record, hex, records, reread};

/// Lines that are read, but have another form when they are written from here.
const READ_ONLY: [(&str, &str); 4] = [
    ("nil_interface", NIL_ALONE),
    ("map_string_interface", JSON_NUMBER),
    ("any_int", JSON_NUMBER),
    ("error_field_struct", "errors do not travel as values"),
];

const NIL_ALONE: &str =
    "a value that is nothing but nil ends a Go process that reads it from a stream: it is `struct{}`";
const JSON_NUMBER: &str = "what stands for an interface in these tests forgets that a number was signed";

/// Lines that are refused.
const REFUSED: [(&str, &str); 2] = [
    ("string_not_utf8", "a string of Rust is UTF-8"),
    ("peer_id_empty", "no peer has it, and Go itself refuses to read it"),
];

/// Types that have no counterpart.
const WITHOUT: [(&str, &str); 3] = [
    ("IntKeyed", "a struct whose fields have numbers in place of names"),
    ("map[interface{}]interface{}", "keys of any type"),
    ("func()", "a function"),
];

#[test]
fn what_go_writes_is_written_alike() {
    let records = records(include_str!("../../../../tests/fixtures/gorpc/values.json"));
    let mut wrong = Vec::new();
    let mut compared = 0;
    for record in &records {
        let (name, go_type) = (&record.name, &record.go_type);
        let Some(bytes) = record.bytes() else { continue };
        // The records of gorpc itself are tested where they are defined.
        if WITHOUT.iter().any(|(without, _)| without == go_type) || name.starts_with("gorpc_") {
            continue;
        }
        let Some(read) = reread(go_type, &bytes) else {
            wrong.push(format!("{name}: nothing here stands for {go_type}"));
            continue;
        };
        match read {
            Err(error) if REFUSED.iter().any(|(refused, _)| refused == name) => drop(error),
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok(_) if REFUSED.iter().any(|(refused, _)| refused == name) => wrong.push(format!("{name} is not refused")),
            Ok((value, written)) => {
                compared += 1;
                if !says_the_same(record, &value) {
                    wrong.push(format!("{name}: {} was read as {value}", record.value));
                }
                let alike = written == bytes;
                if alike == READ_ONLY.iter().any(|(read_only, _)| read_only == name) {
                    wrong.push(format!("{name}: {} is written as {}", hex(&bytes), hex(&written)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), records.len(), wrong.join("\n"));
    assert!(compared > 200, "only {compared} lines were compared");
}

/// Where the fixture has the value and not a description of it.
fn says_the_same(record: &Record, read: &Value) -> bool {
    match (&record.value, read) {
        (Value::String(told), Value::Number(read)) => {
            match (read.as_f64(), told.trim_end_matches(" ns").parse::<f64>()) {
                (Some(read), Ok(told)) => record.go_type == "float32" && read as f32 == told as f32 || read == told,
                _ => false,
            }
        }
        (Value::String(told), Value::String(read)) => told == read || told.contains(" x "),
        (Value::String(_), _) => true,
        (told, read) => told == read,
    }
}
