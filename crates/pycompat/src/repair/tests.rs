//! Repair against what json_repair made of the same texts.

use super::*;
use crate::{repr, vectors};

#[test]
fn broken_json_is_repaired_as_by_json_repair() {
    for row in vectors::rows("repair") {
        let text = vectors::text(&row, "in");
        assert_eq!(repr::repr(&loads(text)), vectors::text(&row, "out"), "{text:?}");
    }
}

#[test]
fn halves_of_a_surrogate_pair_become_one_character() {
    assert_eq!(
        repr::repr(&loads(r#"{"a": "\ud83d\ude00 \ud83d", }"#)),
        "{'a': '😀 \u{fffd}'}"
    );
}

#[test]
fn repair_never_panics_or_hangs() {
    let mut scraps = vectors::Scraps::new(3);
    for _ in 0..20_000 {
        loads(&scraps.text(vectors::SYNTAX, 16));
    }
}

#[test]
fn repair_survives_deep_and_long_texts() {
    for piece in [
        "[",
        "{\"a\":",
        "(",
        "{",
        "{[",
        "a#b\n",
        "[{\"a\": 1, a",
        "{\"a\": \"x, y ",
        "[\"",
        "{},\"a\":1",
        "\\\"",
        "```json",
    ] {
        loads(&piece.repeat(3_000));
        loads(&format!("{{\"k\": {}", piece.repeat(1_000)));
    }
}
