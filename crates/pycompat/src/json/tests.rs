//! JSON against what Python's `json` and orjson read and wrote.

use super::*;
use crate::{repr, vectors};

#[test]
fn texts_read_and_write_as_in_python() {
    for row in vectors::rows("json") {
        let text = vectors::text(&row, "in");
        let read = parse(text).ok();
        assert_eq!(
            read.as_ref().map(repr::repr).as_deref(),
            row["repr"].as_str(),
            "{text:?}"
        );
        let Some(value) = read else { continue };
        assert_eq!(dumps(&value), vectors::text(&row, "dumps"));
        assert_eq!(dumps_indent(&value, 2), vectors::text(&row, "indent"));
        if let Some(orjson) = row["orjson"].as_str() {
            let mut out = String::new();
            write_compact(&value, &mut out);
            assert_eq!(out, orjson);
        }
    }
}

#[test]
fn strings_are_escaped_as_orjson_and_serde_do() {
    for row in vectors::rows("orjson_str") {
        let s = vectors::text(&row, "in");
        let mut out = String::new();
        write_string(s, &mut out);
        let hex: String = out.bytes().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, vectors::text(&row, "out_hex"));
        assert_eq!(out, serde_json::to_string(s).expect("a string is JSON"));
        assert_eq!(out.len(), written_len(s));
    }
}

#[test]
fn keys_other_than_strings_are_written_as_in_python() {
    let keys = [
        Value::Bool(true),
        Value::None,
        Value::Int(1),
        Value::Float(1.5),
        Value::Float(f64::NAN),
    ];
    let dict = Value::Dict(keys.into_iter().map(|k| (k, Value::tuple([]))).collect());
    assert_eq!(
        dumps(&dict),
        r#"{"true": [], "null": [], "1": [], "1.5": [], "NaN": []}"#
    );
}

#[test]
fn parse_error_has_offset_line_and_column() {
    let error = parse("{\n \"é\": ]}").expect_err("`]` is no value");
    assert_eq!((error.offset, error.line, error.column), (9, 2, 7));
    assert_eq!(error.to_string(), "expected a JSON value at line 2, column 7");
}

#[test]
fn too_deep_nesting_is_an_error() {
    for open in ["[", "{\"a\":"] {
        assert!(parse(&open.repeat(1_000_000)).is_err());
    }
    let deepest = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
    assert_eq!(dumps(&parse(&deepest).expect("this depth is allowed")), deepest);
}

#[test]
fn serde_values_round_trip() {
    let text = r#"{"a":[1,-2.5,null,true,"x",18446744073709551615],"b":{}}"#;
    let value: serde_json::Value = serde_json::from_str(text).expect("the text is JSON");
    assert_eq!(from_serde(&value), parse(text).expect("the text is JSON"));
    assert_eq!(to_serde(&from_serde(&value)), value);
}

#[test]
fn reading_never_panics() {
    let mut scraps = vectors::Scraps::new(1);
    for _ in 0..20_000 {
        let text = scraps.text(vectors::SYNTAX, 12);
        let read = parse(&text);
        assert!(
            read.is_ok() || serde_json::from_str::<serde_json::Value>(&text).is_err(),
            "{text:?}"
        );
    }
}
