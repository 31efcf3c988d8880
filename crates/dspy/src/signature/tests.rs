//! Signatures, types and coercion against rows made by the real DSPy and pydantic.

use super::*;
use bsft_pycompat::value::Value;
use bsft_pycompat::value::items::Items;
use bsft_pycompat::{json, repr};
use serde_json::{Value as Json, json};

/// The named types that the vectors were made with.
fn types() -> NamedTypes {
    let definitions = json!({
        "Color": {"enum": ["red", "dark blue", "green"]},
        "Level": {"enum": [1, 2, "high"]},
        "Address": {"doc": "Where someone lives.", "fields": [["street", "str"], ["zip", "Optional[int]", null]]},
        "Person": {"fields": [["name", "str"], ["age", "int"], ["addr", "Address"], ["tags", "list[str]", []], ["score", "float", 1.0]]},
        "One": {"enum": ["only"]},
        "Ken": {"doc": "\n  Ken.\n    More.\n", "fields": [["x_", "One"], ["userID", "dict[Color, int]", {"b": 1, "a": 2}],
            ["first_choice", "Color", "red"], ["w", "Literal['k']", "k"], ["any_", "Any", null],
            ["o", "Union[int, None, str]", null], ["t", "tuple[int, str]", [1, "a"]]]},
        "Cat": {"doc": "A cat.", "fields": [["name", "str", "Tom"], ["lives", "int", 9], ["color", "Optional[Color]", null]]},
        "Dog": {"fields": [["name", "str"], ["good", "bool", true], ["friends", "list[Cat]", []]]},
    });
    parse_types(definitions.as_object().expect("an object")).expect("good types")
}

fn rows(name: &str) -> Vec<Json> {
    bsft_vectors::lines(&format!("signature/{name}"))
        .iter()
        .map(|line| serde_json::from_str(line).expect("a row"))
        .collect()
}

/// Fails with the first few rows that differ, unless at most `allowed` do.
fn compare(name: &str, allowed: usize, differs: impl Fn(&Json) -> Option<String>) {
    let rows = rows(name);
    let differences: Vec<String> = rows.iter().filter_map(differs).collect();
    assert!(
        differences.len() <= allowed,
        "{} of {} {name} rows differ:\n{}",
        differences.len(),
        rows.len(),
        differences
            .iter()
            .take(25)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    );
}

/// The type of a field that is declared with this text.
fn annotation(ty: &str, types: &NamedTypes) -> Type {
    let signature = Signature::parse(&format!("q -> o: {ty}"), None, types).expect("a known type");
    signature.outputs[0].ty.clone()
}

fn text<'a>(row: &'a Json, key: &str) -> &'a str {
    row[key].as_str().expect("a text")
}

#[test]
fn names_notes_and_schemas_are_those_of_dspy() {
    let types = types();
    compare("types", 0, |row| {
        let ty = annotation(text(row, "type"), &types);
        let note = match note(&ty) {
            Some(note) => format!("{{o}}        # note: the value you produce {note}"),
            None => "{o}".to_owned(),
        };
        let schema = row["schema"].as_str().map(|_| json_schema(&ty));
        let signature =
            Signature::parse(&format!("q -> o: {}", text(row, "type")), None, &types).expect("good");
        let strict = json::dumps(&json::from_serde(&strict_schema(&signature)));
        let wanted = (
            row["name"].as_str(),
            row["note"].as_str(),
            row["schema"].as_str(),
            row["strict_schema"].as_str(),
        );
        let found = (
            Some(&*type_name(&ty)),
            Some(&*note),
            schema.as_deref(),
            wanted.3.map(|_| &*strict),
        );
        (wanted != found).then(|| format!("{}\n  wanted {wanted:?}\n  found  {found:?}", row["type"]))
    });
}

#[test]
fn signatures_read_as_dspy_reads_them() {
    let types = types();
    compare("signature", 0, |row| {
        let sig = text(row, "sig");
        let read = Signature::parse(sig, None, &types);
        // Parameters that Python drops in silence are refused here, and names that DSPy only breaks on later.
        let refused_here = sig.contains(['*', '/']) || sig.contains("Sequence");
        let field = |field: &Field| json!([field.name, type_name(&field.ty)]);
        let found = read.as_ref().ok().map(|s| {
            json!({
                "inputs": s.inputs.iter().map(field).collect::<Vec<_>>(),
                "outputs": s.outputs.iter().map(field).collect::<Vec<_>>(),
                "instructions": s.instructions,
                "prefixes": s.fields().map(|f| f.prefix.clone()).collect::<Vec<_>>(),
            })
        });
        let wanted = row["ok"].as_bool().unwrap_or(false).then(|| {
            json!({"inputs": row["inputs"], "outputs": row["outputs"], "instructions": row["instructions"], "prefixes": row["prefixes"]})
        });
        let reasoned = read.as_ref().ok().map(|s| s.clone().with_reasoning()).map(|s| {
            json!({
                "inputs": s.inputs.iter().map(field).collect::<Vec<_>>(),
                "outputs": s.outputs.iter().map(field).collect::<Vec<_>>(),
            })
        });
        let is_equal = found == wanted && row.get("cot").is_none_or(|cot| reasoned.as_ref() == Some(cot));
        let is_accounted = is_equal || (refused_here && found.is_none());
        (!is_accounted).then(|| {
            format!(
                "{sig:?}\n  wanted {wanted:?}\n  found  {found:?} {:?}",
                read.err()
            )
        })
    });
}

#[test]
fn instructions_are_cleaned_once_by_predict_and_twice_by_chain_of_thought() {
    compare("instructions", 0, |row| {
        let predict = Signature::parse("q -> a", Some(text(row, "in")), &NamedTypes::new()).expect("good");
        let found = (
            predict.instructions.clone(),
            predict.with_reasoning().instructions,
        );
        let wanted = (text(row, "predict").to_owned(), text(row, "cot").to_owned());
        (found != wanted).then(|| format!("{}: wanted {wanted:?}, found {found:?}", row["in"]))
    });
}

#[test]
fn prefixes_are_inferred_as_dspy_infers_them() {
    compare("prefix", 0, |row| {
        let found = prefix::infer(text(row, "in"));
        (found != text(row, "out")).then(|| format!("{}: wanted {}, found {found:?}", row["in"], row["out"]))
    });
}

/// Python shows a set in hash order, which is arbitrary; the vectors contain the members sorted.
fn ordered(value: Value) -> Value {
    let all = |items: Items| items.into_iter().map(ordered).collect::<Vec<_>>();
    match value {
        Value::Set(items) => {
            let mut items = all(items);
            items.sort_by_cached_key(repr::repr);
            Value::Set(items.into())
        }
        Value::List(items) => Value::list(all(items)),
        Value::Tuple(items) => Value::tuple(all(items)),
        Value::Dict(items) => Value::Dict(items.into_iter().map(|(k, v)| (ordered(k), ordered(v))).collect()),
        other => other,
    }
}

fn coerced(row: &Json, read: Result<Value, coerce::CoerceError>) -> Option<String> {
    let wanted = row["ok"]
        .as_bool()
        .unwrap_or(false)
        .then(|| text(row, "py").to_owned());
    let found = read.ok().map(|value| repr::repr(&ordered(value)));
    (wanted != found).then(|| {
        format!(
            "{} {}: wanted {wanted:?}, found {found:?}",
            row["type"], row["in"]
        )
    })
}

#[test]
fn texts_become_typed_values_as_in_dspy() {
    let types = types();
    compare("parse_value", 0, |row| {
        let ty = annotation(text(row, "type"), &types);
        coerced(row, coerce::from_text(text(row, "in"), &ty))
    });
}

#[test]
fn json_values_become_typed_values_as_in_dspy() {
    let types = types();
    compare("json_value", 0, |row| {
        let ty = annotation(text(row, "type"), &types);
        coerced(row, coerce::from_value(json::from_serde(&row["in"]), &ty))
    });
}

/// Types of every kind, to which no answer does harm.
const KINDS: [&str; 12] = [
    "int",
    "float",
    "bool",
    "Literal['a', 1, True]",
    "Color",
    "list[int]",
    "dict[str, Optional[Person]]",
    "set[Any]",
    "tuple[int, ...]",
    "Person",
    "Union[Dog, Cat, str]",
    "Union[int, None, list[Level]]",
];

#[test]
fn parsing_signatures_and_values_never_panics() {
    let types = types();
    let kinds = KINDS.map(|ty| annotation(ty, &types));
    let mut random = bsft_pycompat::random::Random::new(7);
    let pieces = [
        "->", "a", ": ", "list", "[", "]", "Literal", "'x'", "|", ",", "1", "é", "\\", "\"", ".", " ", "(",
        "{", "}", "…", "...", "Optional", "Union", "=", "#", "\n", "u'", "r\"", "\"\"\"", "0x", "1e9",
        "None", "\u{301}", "-", "_",
    ];
    for round in 0..20_000 {
        let mut text = String::new();
        for _ in 0..random.below(14) {
            match random.below(8) {
                0 => text.extend(char::from_u32(random.next_u32() >> (11 + random.below(15)))),
                _ => text.push_str(pieces[random.below(pieces.len() as u32) as usize]),
            }
        }
        let _ = Signature::parse(&text, Some(&text), &types).map(Signature::with_reasoning);
        let _ = coerce::from_text(&text, &kinds[round % kinds.len()]);
    }
}

#[test]
fn deep_types_and_answers_are_refused_or_read() {
    let types = NamedTypes::new();
    for (open, close) in [("list[", "]"), ("(", ")"), ("Literal[", "]"), ("Optional[", "]")] {
        let text = format!("q -> a: {}int{}", open.repeat(100_000), close.repeat(100_000));
        assert!(Signature::parse(&text, None, &types).is_err());
    }
    let _ = coerce::from_text(&"[".repeat(20_000), &Type::Any);
}

#[test]
fn error_names_the_field_and_the_remedy() {
    let types = types();
    let error = |text: &str| {
        Signature::parse(text, None, &types)
            .expect_err("wrong")
            .to_string()
    };
    assert_eq!(
        error("q -> a: Colour"),
        "field `a`: the type `Colour` is not known; did you mean `Color`?"
    );
    assert_eq!(
        error("q -> a: list[string]"),
        "field `a`: the type `string` is not known; did you mean `str`?"
    );
    assert_eq!(error("q -> a: list[int"), "field `a`: expected `]` at the end");
    assert!(error("demos -> a").starts_with("a field cannot be called `demos`"));
    assert!(error("class -> a").contains("keyword"));
    assert!(Signature::parse("q -> demos", None, &types).is_ok());
}

#[test]
fn all_wrong_types_are_reported_without_their_consequences() {
    let definitions = json!({
        "A": {"fields": [["x", "B"], ["y", "strr"], ["x"]]},
        "B": {"enum": ["a b", "a-b"], "dok": 1},
        "C": {"fields": [["a", "list[A]"]]},
        "2D": {"enum": []},
    });
    let errors = parse_types(definitions.as_object().expect("an object")).expect_err("wrong");
    let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        [
            "type A: field x: the type `B` is not defined before this one; move its definition up",
            "type A: field y: the type `strr` is not known; did you mean `str`?",
            "type A: [\"x\"] is not a field: write [\"name\", \"type\"] or [\"name\", \"type\", default]",
            "type B: dok is not a key of a type; did you mean doc?",
            "type B: two values of the enum make the member A_B; leave one out",
            "type 2D: the name is no Python identifier; use letters, digits and underscores",
            "type 2D: write { enum = [\"a\", \"b\"] } or { fields = [[\"name\", \"str\"]] }",
        ]
    );
}

#[test]
fn description_and_new_instructions_rebuild_the_signature() {
    let signature = Signature::parse("q -> a", Some("\n    A\n  B"), &NamedTypes::new()).expect("good");
    assert_eq!(signature.instructions, "  A\nB");
    let described = signature.clone().with_desc("q", "what is asked");
    assert_eq!(
        (described.instructions.as_str(), described.inputs[0].desc.as_str()),
        ("A\nB", "what is asked")
    );
    assert_eq!(signature.clone().with_desc("q", "${q}").instructions, "  A\nB");
    let default = "Given the fields `q`, produce the fields `a`.";
    assert_eq!(signature.with_instructions("").instructions, default);
}
