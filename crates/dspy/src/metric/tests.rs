//! Compares scores with DSPy's, which wrote `tests/vectors/metric`.

use super::*;
use bsft_pycompat::json::{from_serde, parse};
use serde_json::json;

fn rows(name: &str) -> Vec<Record> {
    let row = |line: &str| match parse(line) {
        Ok(Value::Dict(entries)) => entries
            .into_iter()
            .map(|(k, v)| (k.as_str().expect("a name").to_owned(), v))
            .collect(),
        other => panic!("no object: {other:?}"),
    };
    bsft_vectors::lines(&format!("metric/{name}"))
        .iter()
        .map(|line| row(line))
        .collect()
}

fn record(value: &serde_json::Value) -> Record {
    Record::from_iter([("a".to_owned(), from_serde(value))])
}

fn metric(kind: MetricKind, threshold: Option<f64>) -> Metric {
    let field = "a".to_owned();
    Metric::new(&MetricSpec {
        kind,
        field,
        threshold,
    })
}

fn score(kind: MetricKind, ty: Option<&Type>, gold: serde_json::Value, got: serde_json::Value) -> Value {
    metric(kind, None)
        .score(ty, &record(&gold), Some(&from_serde(&got)))
        .expect("both have the field")
}

#[test]
fn text_is_normalised_as_in_dspy() {
    for row in rows("normalize") {
        let text = row["in"].as_str().expect("a text");
        assert_eq!(normalize(text), row["out"].as_str().expect("a text"), "{text:?}");
    }
}

#[test]
fn exact_match_and_f1_are_those_of_dspy() {
    for row in rows("f1") {
        let labelled = |key: &str| Record::from_iter([("a".to_owned(), row[key].clone())]);
        for (kind, expected) in [(MetricKind::ExactMatch, &row["em"]), (MetricKind::F1, &row["f1"])] {
            let got = metric(kind, None).score(None, &labelled("b"), Some(&row["a"]));
            assert_eq!(got.as_ref(), Ok(expected), "{row:?}");
        }
    }
}

#[test]
fn normalisation_of_ascii_equals_the_general_one() {
    let mut random = bsft_pycompat::random::Random::new(7);
    for _ in 0..20_000 {
        let pieces = [
            "a", "An", "the", " ", "\t", "-", "_", "x", "A b", "\n", ".", "7", "\x1f", "theme",
        ];
        let n = random.below(9);
        let text: String = (0..n)
            .map(|_| pieces[random.below(pieces.len() as u32) as usize])
            .collect();
        assert_eq!(normalize(&text), normal::normalize_any(&text), "{text:?}");
    }
}

#[test]
fn list_label_holds_accepted_answers_unless_the_field_is_a_list() {
    let list = Type::List(Some(Box::new(Type::Int)));
    let yes = Value::Bool(true);
    assert_eq!(
        score(MetricKind::Equals, Some(&Type::Int), json!([1, 2]), json!(2)),
        yes
    );
    assert_eq!(
        score(MetricKind::Equals, Some(&list), json!([1, 2]), json!([1, 2])),
        yes
    );
    assert_ne!(
        score(MetricKind::Equals, Some(&list), json!([[1], [2]]), json!([1])),
        yes
    );
    assert_eq!(
        score(MetricKind::Equals, Some(&Type::Int), json!("2"), json!(2)),
        yes
    );
    assert_ne!(
        score(MetricKind::Equals, Some(&Type::Str), json!("2"), json!("2.0")),
        yes
    );
    assert_eq!(
        score(
            MetricKind::ExactMatch,
            None,
            json!(["The cat", "dog"]),
            json!("cat!")
        ),
        yes
    );
    assert_eq!(
        score(MetricKind::ExactMatch, None, json!([]), json!("cat")),
        Value::Bool(false)
    );
}

#[test]
fn contains_looks_for_whole_tokens() {
    let contains = |gold, got| score(MetricKind::Contains, None, gold, got).is_truthy();
    assert!(contains(json!("Big Apple"), json!("It is the big apple.")));
    assert!(!contains(json!("app"), json!("apple")));
    assert!(contains(json!(["pear", "Apple"]), json!("an apple")));
    assert!(contains(json!("b"), json!("ab b")));
    assert!(!contains(json!("the"), json!("apple")));
}

#[test]
fn missing_label_or_field_is_named_and_threshold_replaces_truthiness() {
    let f1 = |threshold| metric(MetricKind::F1, threshold);
    let (some, none) = (record(&json!("x")), Record::new());
    assert_eq!(
        f1(None).score(None, &none, some.get("a")),
        Err(MetricError::NoLabel("a".to_owned()))
    );
    assert_eq!(
        f1(None).score(None, &some, None),
        Err(MetricError::NoField("a".to_owned()))
    );
    assert!(f1(Some(0.5)).keeps(&Value::Float(0.5)) && !f1(Some(0.5)).keeps(&Value::Float(0.4)));
    assert!(f1(Some(1.0)).keeps(&Value::Bool(true)) && !f1(Some(0.0)).keeps(&Value::Float(f64::NAN)));
    assert!(f1(None).keeps(&Value::Float(0.1)) && !f1(None).keeps(&Value::Int(0)));
}
