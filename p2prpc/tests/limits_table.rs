//! The table of limits says what the code says.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use p2prpc::Limits;

/// Bytes, pieces, or microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Count(f64),
    Micros(f64),
}

/// "64 MiB", "10 s" or "4,096".
fn written(text: &str) -> Value {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number: f64 = number.replace(',', "").parse().unwrap_or_else(|_| panic!("{text} is no number"));
    match unit {
        "" | "B" => Value::Count(number),
        "KiB" => Value::Count(number * 1024.0),
        "MiB" => Value::Count(number * 1024.0 * 1024.0),
        "GiB" => Value::Count(number * 1024.0 * 1024.0 * 1024.0),
        "us" => Value::Micros(number),
        "ms" => Value::Micros(number * 1e3),
        "s" => Value::Micros(number * 1e6),
        "min" => Value::Micros(number * 60e6),
        unit => panic!("{unit} is no unit"),
    }
}

fn of_limits(name: &str) -> Value {
    let limits = Limits::default();
    match name {
        "max_message" => Value::Count(limits.max_message as f64),
        "max_calls_per_peer" => Value::Count(limits.max_calls_per_peer as f64),
        "max_bytes_per_peer" => Value::Count(limits.max_bytes_per_peer as f64),
        "max_calls" => Value::Count(limits.max_calls as f64),
        "max_bytes" => Value::Count(limits.max_bytes as f64),
        "max_deadline" => Value::Micros(limits.max_deadline.as_micros() as f64),
        name => panic!("there is no limit {name}"),
    }
}

/// The constants of a file, as they are written there.
fn constants(source: &str) -> HashMap<&str, &str> {
    let definition = |part: &'_ str| part.split_once(';').map(|(definition, _)| definition.len());
    let mut constants = HashMap::new();
    for (at, _) in source.match_indices("const ") {
        let rest = &source[at + "const ".len()..];
        let Some(end) = definition(rest) else { continue };
        if let Some((name, definition)) = rest[..end].split_once(": ")
            && let Some((_, value)) = definition.split_once(" = ")
        {
            constants.insert(name, value);
        }
    }
    constants
}

/// The value of an expression of numbers, other constants, `*`, `/` and `<<`.
fn number(expression: &str, constants: &HashMap<&str, &str>) -> f64 {
    let expression = expression.trim();
    if let Some((left, right)) = expression.split_once("<<") {
        return number(left, constants) * number(right, constants).exp2();
    }
    if let Some((left, right)) = expression.rsplit_once(['*', '/']) {
        let (left, by) = (number(left, constants), number(right, constants));
        return if expression[..expression.len() - right.len()].ends_with('*') { left * by } else { left / by };
    }
    match constants.get(expression) {
        Some(value) => number(value, constants),
        None => expression.replace('_', "").parse().unwrap_or_else(|_| panic!("{expression} is no number")),
    }
}

fn value(expression: &str, constants: &HashMap<&str, &str>) -> Value {
    let time = |unit: &str| expression.strip_prefix(unit)?.strip_suffix(')').map(|inner| number(inner, constants));
    if let Some(seconds) = time("Duration::from_secs(") {
        Value::Micros(seconds * 1e6)
    } else if let Some(millis) = time("Duration::from_millis(") {
        Value::Micros(millis * 1e3)
    } else if let Some(micros) = time("Duration::from_micros(") {
        Value::Micros(micros)
    } else {
        Value::Count(number(expression, constants))
    }
}

fn in_the_code(constant: &str) -> Value {
    if let Some(name) = constant.strip_prefix("Limits::") {
        return of_limits(name);
    }
    let (file, name) = constant.split_once(": ").unwrap_or_else(|| panic!("{constant} names no file"));
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file))
        .unwrap_or_else(|error| panic!("{file}: {error}"));
    let constants = constants(&source);
    let (name, field) = name.split_once('.').unwrap_or((name, ""));
    let definition = constants.get(name).unwrap_or_else(|| panic!("{file} has no {name}"));
    if field.is_empty() {
        return value(definition, &constants);
    }
    let fields = definition.split_once('{').and_then(|(_, fields)| fields.split_once('}'));
    let mut fields = fields.unwrap_or_else(|| panic!("{name} has no fields")).0.split(',');
    let field = fields.find_map(|part| part.trim().strip_prefix(field)?.strip_prefix(':'));
    value(field.unwrap_or_else(|| panic!("{constant} is not there")).trim(), &constants)
}

#[test]
fn the_table_of_limits_says_what_the_code_says() {
    let table = include_str!("../docs/limits.md");
    let mut rows = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [bound, default, _, constant] = cells[..] else { panic!("{row}: not four cells") };
        if bound == "bound" {
            continue;
        }
        assert_eq!(written(default), in_the_code(constant.trim_matches('`')), "{bound}: {constant}");
        rows += 1;
    }
    assert!(rows > 50, "{rows} rows");
}
