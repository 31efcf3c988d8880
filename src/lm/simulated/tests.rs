//! The simulated LM: the distribution of its answers, and that they are reproducible.

use super::*;
use crate::adapter::{Adapter, FormatError, Message, ParseFailure};
use crate::lm::RequestContext;
use crate::memory::MemoryShare;
use crate::metrics::Metrics;
use crate::python::value::items::Items;
use crate::signature::{EnumClass, Field, ModelClass, ModelField, Signature, TupleItems, Type};
use crate::value::Value;
use std::sync::Arc;

/// Formats one `[[ ## name ## ]]` header per field, and the debug text of its value.
#[derive(Debug)]
struct Headers;

impl Adapter for Headers {
    fn prelude(&self, _: &Signature, _: &[Record]) -> Result<Vec<Message>, FormatError> {
        Ok(Vec::new())
    }
    fn user(&self, _: &Signature, _: &Record) -> Result<String, FormatError> {
        Ok(String::new())
    }
    fn assistant(&self, signature: &Signature, outputs: &Record) -> Result<String, FormatError> {
        let fields = signature.outputs.iter();
        Ok(fields
            .map(|field| format!("[[ ## {} ## ]]\n{:?}\n\n", field.name, outputs[&field.name]))
            .collect())
    }
    fn parse(&self, signature: &Signature, answer: &str) -> Result<Record, ParseFailure> {
        let found = signature.outputs.iter().map(|field| {
            let (_, text) = answer.split_once(&format!("[[ ## {} ## ]]\n", field.name))?;
            Some((field.name.clone(), Value::Str(text.lines().next()?.to_owned())))
        });
        found.collect::<Option<Record>>().ok_or(ParseFailure {
            reason: "no header".to_owned(),
            partial: None,
        })
    }
}

fn signature(outputs: &[(&str, Type)]) -> Signature {
    let field = |(name, ty): &(&str, Type)| Field {
        name: (*name).to_owned(),
        ty: ty.clone(),
        desc: String::new(),
        prefix: String::new(),
    };
    Signature {
        instructions: String::new(),
        inputs: vec![],
        outputs: outputs.iter().map(field).collect(),
    }
}

fn lm(simulate: Simulation, job_seed: u64) -> SimulatedLm {
    let settings = LmSettings {
        simulate,
        ..LmSettings::new("teacher", "simulated/teacher")
    };
    SimulatedLm::new(&settings, job_seed, settings.metrics(&Metrics::new()))
}

fn labels() -> Type {
    Type::Literal(vec!["a".into(), "b".into(), "c".into()])
}

/// Asks question number `i`, whose correct label is `"b"`.
async fn ask(lm: &SimulatedLm, signature: &Signature, i: usize) -> Result<LmResponse, LmError> {
    let example = Record::from_iter([("label".to_owned(), Value::from("b"))]);
    let context = RequestContext {
        signature,
        adapter: &Headers,
        example: &example,
    };
    let request = LmRequest {
        body: &format!("{{\"question\":{i}}}"),
        context,
        memory: &MemoryShare::unlimited(),
    };
    match lm.complete(request).await.verdict {
        Verdict::Answer(answer) => Ok(answer),
        Verdict::Failed(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn accuracy_and_malformed_rate_are_the_frequencies_of_answers() {
    let signature = signature(&[("reasoning", Type::Str), ("label", labels())]);
    for (accuracy, malformed_rate) in [(0.0, 0.0), (0.3, 0.2), (0.8, 0.05), (1.0, 0.0), (0.5, 1.0)] {
        let lm = lm(
            Simulation {
                accuracy,
                malformed_rate,
                ..Simulation::default()
            },
            1,
        );
        let (mut right, mut parsed) = (0.0, 0.0);
        for i in 0..2000 {
            if let Ok(outputs) = Headers.parse(&signature, &ask(&lm, &signature, i).await.unwrap().text) {
                parsed += 1.0;
                right += f64::from(u8::from(outputs["label"] == Value::from("Str(\"b\")")));
            }
        }
        // Four standard deviations of 2,000 draws.
        assert!(
            (parsed / 2000.0 - (1.0 - malformed_rate)).abs() < 0.045,
            "{parsed}"
        );
        if parsed > 0.0 {
            assert!((right / parsed - accuracy).abs() < 0.05, "{right} of {parsed}");
        }
    }
}

#[tokio::test]
async fn same_question_and_seed_give_the_same_answer() {
    let signature = signature(&[("text", Type::Str), ("label", labels())]);
    let simulate = Simulation {
        accuracy: 0.5,
        malformed_rate: 0.1,
        error_rate: 0.3,
        ..Simulation::default()
    };
    let (first, again) = (lm(simulate, 1), lm(simulate, 1));
    let others = [lm(simulate, 2), lm(Simulation { seed: 9, ..simulate }, 1)];
    let mut differ = [0; 2];
    for i in 0..300 {
        let answer = ask(&first, &signature, i).await.unwrap();
        for (other, differ) in others.iter().zip(&mut differ) {
            *differ += u32::from(ask(other, &signature, i).await.unwrap() != answer);
        }
        // Another process asks in another order.
        ask(&again, &signature, 299 - i).await.unwrap();
        assert_eq!(ask(&again, &signature, i).await.unwrap(), answer);
    }
    assert!(differ.iter().all(|differ| *differ > 250), "{differ:?}");
}

#[tokio::test]
async fn error_rate_below_1_is_retried_and_1_fails_every_request() {
    let signature = signature(&[("label", labels())]);
    let some = lm(
        Simulation {
            error_rate: 0.25,
            ..Simulation::default()
        },
        1,
    );
    for i in 0..2000 {
        ask(&some, &signature, i).await.unwrap();
    }
    let totals = some.usage_totals();
    assert!((2400..2600).contains(&totals.requests), "{totals:?}");
    let all = lm(
        Simulation {
            error_rate: 1.0,
            ..Simulation::default()
        },
        1,
    );
    assert_eq!(ask(&all, &signature, 0).await.unwrap_err().attempts(), 4);
}

/// Whether the value is valid for the type.
fn valid(ty: &Type, value: &Value) -> bool {
    let each = |ty: &Option<Box<Type>>, items: &Items| {
        items
            .iter()
            .all(|item| valid(ty.as_deref().unwrap_or(&Type::Any), &item))
    };
    match (ty, value) {
        (Type::Any, _)
        | (Type::None, Value::None)
        | (Type::Str, Value::Str(_))
        | (Type::Int, Value::Int(_))
        | (Type::Float, Value::Float(_))
        | (Type::Bool, Value::Bool(_)) => true,
        (Type::Literal(members), value) => members.contains(value),
        (Type::Enum(class), Value::Enum(got)) => class
            .members
            .iter()
            .any(|(name, value)| *name == got.name && *value == got.value),
        (Type::Model(class), Value::Model(got)) => {
            let both = class.fields.iter().zip(&got.fields);
            class.fields.len() == got.fields.len()
                && both
                    .into_iter()
                    .all(|(field, (name, value))| field.name == *name && valid(&field.ty, value))
        }
        (Type::List(ty), Value::List(items)) => each(ty, items),
        (Type::Set(ty), Value::Set(items)) => {
            each(ty, items)
                && items
                    .iter()
                    .enumerate()
                    .all(|(i, item)| !items.iter().take(i).any(|other| other == item))
        }
        (Type::Dict(ty), Value::Dict(entries)) => ty.as_deref().is_none_or(|(k, v)| {
            entries
                .iter()
                .all(|(key, value)| valid(k, key) && valid(v, value))
        }),
        (Type::Tuple(TupleItems::Bare), Value::Tuple(_)) => true,
        (Type::Tuple(TupleItems::Repeated(ty)), Value::Tuple(items)) => {
            items.iter().all(|item| valid(ty, &item))
        }
        (Type::Tuple(TupleItems::Fixed(types)), Value::Tuple(items)) => {
            types.len() == items.len() && types.iter().zip(items).all(|(ty, item)| valid(ty, &item))
        }
        (Type::Union(types), value) => types.iter().any(|ty| valid(ty, value)),
        _ => false,
    }
}

/// A random type, nested up to `depth` levels.
fn any_type(draw: &mut Draw, depth: usize) -> Type {
    let inner = |draw: &mut Draw| Box::new(any_type(draw, depth - 1));
    match draw.below(if depth == 0 { 7 } else { 14 }) {
        0 => Type::Str,
        1 => Type::Int,
        2 => Type::Float,
        3 => Type::Bool,
        4 => Type::None,
        5 => Type::Literal(vec![Value::Int(1), Value::from("x"), Value::Bool(true)]),
        6 => {
            let members = vec![("RED".into(), Value::from("red")), ("TWO".into(), Value::Int(2))];
            Type::Enum(Arc::new(EnumClass {
                name: "Color".into(),
                members,
            }))
        }
        7 => Type::List(Some(inner(draw))),
        8 => Type::Set(Some(inner(draw))),
        9 => Type::Dict(Some(Box::new((Type::Str, *inner(draw))))),
        10 => Type::Tuple(TupleItems::Fixed(vec![*inner(draw), *inner(draw)])),
        11 => Type::Tuple(TupleItems::Repeated(inner(draw))),
        12 => Type::Union(vec![*inner(draw), Type::None]),
        _ => {
            let field = |name: &str, ty: Box<Type>| ModelField {
                name: name.into(),
                ty: *ty,
                default: None,
            };
            let fields = vec![field("a", inner(draw)), field("b", inner(draw))];
            Type::Model(Arc::new(ModelClass {
                name: "Person".into(),
                doc: None,
                fields,
            }))
        }
    }
}

#[test]
fn random_values_are_valid_and_wrong_ones_differ_from_the_label() {
    let mut draw = Draw::new(5);
    let mut let_through = 0;
    for _ in 0..3000 {
        let ty = any_type(&mut draw, 3);
        let label = random_values::plausible_value(&ty, &mut draw);
        assert!(valid(&ty, &label), "{ty:?} {label:?}");
        let other = random_values::wrong_value(&ty, &label, &mut draw);
        assert!(valid(&ty, &other), "{ty:?} {other:?}");
        let_through += u32::from(other == label);
    }
    // Types with only one value have no other: `None`, and containers of it.
    assert!(let_through < 600, "{let_through}");
}

#[test]
fn wrong_enum_member_is_not_the_one_with_the_label_as_value() {
    let members = vec![
        ("RED".into(), Value::from("red")),
        ("BLUE".into(), Value::from("blue")),
    ];
    let ty = Type::Enum(Arc::new(EnumClass {
        name: "Color".into(),
        members,
    }));
    let mut draw = Draw::new(1);
    for _ in 0..5 {
        let Value::Enum(member) = random_values::wrong_value(&ty, &"red".into(), &mut draw) else {
            panic!("no member")
        };
        assert_eq!(&*member.name, "BLUE");
    }
}
