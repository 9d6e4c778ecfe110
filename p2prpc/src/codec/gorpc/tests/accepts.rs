//! What Go takes is taken, and what it refuses is refused, but for what is listed here.

use serde_json::Value;

use super::golden::{Record, first_value, hex, records, reread, unhex};

/// Refused here, though Go takes it.
const REFUSED: [(&str, &str); 21] = [
    ("string_from_invalid_utf8", "a string of Rust is UTF-8"),
    ("byte_array4_short", LENGTH),
    ("byte_array4_long", LENGTH),
    ("byte_array4_from_array_long", LENGTH),
    ("array3_long", LENGTH),
    ("int64_from_uint64_max", WRAPS),
    ("int8_from_uint64_max", WRAPS),
    ("int64_from_uint64_2p63", WRAPS),
    ("struct_key_nil", "a name is a string"),
    ("struct_duplicate_key", TWICE),
    ("struct_duplicate_key_nil_last", TWICE),
    ("embedded_nested_key", "what is flattened into another struct needs a `#[serde(default)]` to be left out"),
    ("toarray_from_map", "a tuple struct has no names"),
    ("interface_from_map_int_key", STAND_IN),
    ("time_nanos_too_big", "Go carries what is more than a second over"),
    ("peer_id_from_base58_text", "Go takes any bytes whose first ones look like a hash"),
    ("peer_id_from_nil", "no peer id is empty: this is an `Option`"),
    ("depth_1000_into_interface", DEPTH),
    ("depth_1022_into_interface", DEPTH),
    ("depth_1023_into_interface", DEPTH),
    ("depth_2000_under_unknown_key", DEPTH),
];

const LENGTH: &str = "Go fills an array short or cuts it long, silently";
const WRAPS: &str = "Go makes a negative number of it";
const TWICE: &str = "Go takes the last one";
const DEPTH: &str = "all codecs have one limit for nesting";
const STAND_IN: &str = "what stands for an interface in these tests has no such value";

/// Taken here, though Go refuses it.
const TAKEN: [(&str, &str); 4] = [
    ("slice_int_from_str", "`Vec<u8>` is read as any sequence is, and `[]byte` is written as a string"),
    ("interface_from_map_array_key", STAND_IN),
    ("cid_from_empty", "it is bytes to us"),
    ("error_field_from_map", "errors do not travel as values"),
];

/// Read otherwise than Go does.
const OTHERWISE: [(&str, &str); 4] = [
    ("f64_from_uint64_max", WRAPS),
    ("f32_from_uint64_max", WRAPS),
    ("f64_from_uint64_2p63", WRAPS),
    ("f32_from_uint64_2p63", WRAPS),
];

/// Types of which the fixture says the value in words of its own. That they are written again to the byte is tested elsewhere.
const BY_HAND: [&str; 8] =
    ["Emb", "EmbPtr", "JSONTags", "CodecTags", "map[Inner]bool", "cid.Cid", "struct { C cid.Cid }", "struct {}"];

#[test]
fn what_go_takes_is_taken_alike() {
    let records = records(include_str!("../../../../tests/fixtures/gorpc/accepts.json"));
    let mut wrong = Vec::new();
    let mut compared = 0;
    for record in records.iter().filter(|record| record.what == "decode" && record.value_before.is_none()) {
        let (name, go_type) = (&record.name, &record.go_type);
        // The records of gorpc itself are tested where they are defined; a struct with numbers for names has no counterpart.
        if go_type.starts_with("rpc.") || go_type == "IntKeyed" || name.starts_with("interface_from_ext") {
            continue;
        }
        let bytes = record.bytes().unwrap_or_default();
        // Go leaves what is behind the value for the next one.
        let Some(read) = reread(go_type, first_value(&bytes)) else {
            wrong.push(format!("{name}: nothing here stands for {go_type}"));
            continue;
        };
        compared += 1;
        let listed = |list: &[(&str, &str)]| list.iter().any(|(listed, _)| listed == name);
        match (read, record.accepted) {
            (Ok((read, _)), true) if listed(&REFUSED) => wrong.push(format!("{name}: {read} is not refused")),
            (Ok((read, _)), true) => {
                let alike = BY_HAND.contains(&go_type.as_str()) || is_alike(record, &read);
                if alike == listed(&OTHERWISE) {
                    wrong.push(format!("{name}: {} was read as {read}", record.value));
                }
            }
            (Err(error), false) if listed(&TAKEN) => wrong.push(format!("{name} is not taken: {error}")),
            (Err(_), false) => {}
            (Err(_), true) if listed(&REFUSED) => {}
            (Err(error), true) => wrong.push(format!("{name}: {go_type}: {error}")),
            (Ok(_), false) if listed(&TAKEN) => {}
            (Ok((read, _)), false) => wrong.push(format!("{name}: {} was read as {read}", hex(&bytes))),
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 350, "only {compared} lines were compared");
}

fn is_alike(record: &Record, read: &Value) -> bool {
    if record.go_type != "time.Time" {
        return means(&record.value, read);
    }
    let values = records(include_str!("../../../../tests/fixtures/gorpc/values.json"));
    let Some(written) =
        values.iter().find(|value| value.value.as_str().is_some_and(|text| is_time(&record.value, text)))
    else {
        return false;
    };
    reread("time.Time", &written.bytes().unwrap()).is_some_and(|time| time.is_ok_and(|(time, _)| time == *read))
}

fn is_time(told: &Value, text: &str) -> bool {
    told.as_str().is_some_and(|told| text == told || text.strip_suffix(" (IsZero)") == Some(told))
}

/// Whether the fixture tells, in its words, of what was read.
fn means(told: &Value, read: &Value) -> bool {
    match (told, read) {
        (Value::Object(fields), _) if fields.contains_key("go_type") => means(&fields["value"], read),
        (Value::Object(fields), _) if fields.contains_key("bytes") => {
            let bytes = unhex(fields["bytes"].as_str().unwrap());
            *read == Value::from(&bytes[..]) || read.as_str().is_some_and(|text| text.as_bytes() == bytes)
        }
        (Value::Object(told), Value::Object(read)) => {
            let name = |name: &str| name.strip_prefix("string ").unwrap_or(name).to_owned();
            told.len() == read.len()
                && told.iter().all(|(key, told)| read.get(&name(key)).is_some_and(|read| means(told, read)))
        }
        (Value::Array(told), Value::Array(read)) => {
            told.len() == read.len() && told.iter().zip(read).all(|(told, read)| means(told, read))
        }
        (Value::Number(told), Value::Number(read)) => told.as_f64() == read.as_f64(),
        (Value::String(told), Value::Null) => ["NaN", "+Inf", "-Inf", "multiaddr "].contains(&told.as_str()),
        (Value::String(told), Value::String(read)) => {
            let told = told.strip_prefix("peer ").or(told.strip_prefix("multiaddr ")).unwrap_or(told);
            told == read
        }
        (told, read) => told == read,
    }
}
