//! Lines of `traces.jsonl`: what is written is found again, byte for byte.

use super::*;
use crate::lm::Usage;
use crate::python::random::Random;
use crate::task::TaskId;

/// Text that has everything JSON escapes.
fn text(random: &mut Random) -> String {
    let pieces = [
        "a", "é", "\"", "\\", "\n", "\u{1}", "]", "[", "}", "{", "\u{2028}", "😀", ",", "prompt", ": ",
    ];
    (0..random.below(12))
        .map(|_| pieces[random.below(pieces.len() as u32) as usize])
        .collect()
}

fn messages(random: &mut Random) -> String {
    let messages: Vec<serde_json::Value> = (0..random.below(4))
        .map(|_| serde_json::json!({"role": "user", "content": text(random)}))
        .collect();
    serde_json::to_string(&messages).expect("plain data")
}

fn exchange(random: &mut Random) -> Exchange {
    let usage = Usage {
        prompt_tokens: random.below(1000).into(),
        completion_tokens: random.below(1000).into(),
    };
    Exchange {
        messages: messages(random),
        raw_answer: text(random),
        usage,
    }
}

fn trace(random: &mut Random) -> Trace {
    let calls = (0..random.below(4)).map(|_| Call {
        predictor: text(random),
        lm: text(random),
        inputs: Record::from_iter([
            (text(random), Value::Float(f64::NAN)),
            ("b".to_owned(), Value::Int(1)),
        ]),
        outputs: Record::from_iter([(
            text(random),
            Value::List(vec![Value::None, Value::from(text(random))]),
        )]),
        used: exchange(random),
        unparsed: (0..random.below(3)).map(|_| exchange(random)).collect(),
        prompt: (random.below(2) == 0).then(|| messages(random)),
        assistant: text(random),
    });
    let calls = calls.collect();
    Trace {
        task: TaskId::derive(&[text(random).as_bytes()]),
        trace_fingerprint: text(random),
        teacher: random.below(9),
        example: random.next_u32(),
        calls,
        prediction: Record::from_iter([(text(random), Value::Bool(true))]),
        score: Value::Float(0.5),
        kept: random.below(2) == 0,
    }
}

#[test]
fn a_line_is_found_again_with_the_bytes_of_its_training_rows() {
    let mut random = Random::new(11);
    for _ in 0..2000 {
        let mut trace = trace(&mut random);
        // JSON has no NaN; what Python writes in its place is tested where it is written.
        trace.calls.iter_mut().for_each(|call| {
            call.inputs
                .retain(|_, value| *value != Value::Float(f64::NAN) && !matches!(value, Value::Float(_)))
        });
        let line = trace.to_line();
        assert!(!line.contains('\n'));
        let index = LineIndex::of(&line).expect("our own line");
        assert_eq!(
            (index.task, index.teacher, index.example),
            (trace.task, trace.teacher, trace.example)
        );
        assert_eq!(
            (index.kept, &index.trace_fingerprint),
            (trace.kept, &trace.trace_fingerprint)
        );
        assert_eq!(index.calls.len(), trace.calls.len());
        for (found, call) in index.calls.iter().zip(&trace.calls) {
            let part = |range: &std::ops::Range<u32>| &line[range.start as usize..range.end as usize];
            assert_eq!(
                part(&found.prompt),
                call.prompt.as_ref().unwrap_or(&call.used.messages)
            );
            assert_eq!(
                serde_json::from_str::<String>(part(&found.assistant)).expect("a string"),
                call.assistant
            );
            assert_eq!(found.exchanges as usize, 1 + call.unparsed.len());
        }
    }
}

#[test]
fn the_answers_of_a_line_come_in_the_order_in_which_they_were_asked_for() {
    let mut random = Random::new(12);
    for _ in 0..500 {
        let mut trace = trace(&mut random);
        trace.calls.iter_mut().for_each(|call| call.inputs.clear());
        let answers = answers_of(&trace.to_line()).expect("our own line");
        let exchanges = trace.calls.iter().flat_map(|call| {
            call.unparsed
                .iter()
                .chain([&call.used])
                .map(|exchange| (call.lm.as_str(), exchange))
        });
        let wanted: Vec<RecordedAnswer> = exchanges
            .map(|(lm, exchange)| RecordedAnswer {
                question: question(lm, &exchange.messages),
                answer: crate::lm::LmResponse {
                    text: exchange.raw_answer.clone(),
                    usage: exchange.usage,
                },
            })
            .collect();
        assert_eq!(answers, wanted);
    }
}

#[test]
fn an_outcome_is_read_as_it_was_written_and_nothing_else_is() {
    for outcome in [
        Outcome::Trace("{\"é\":1}".into()),
        Outcome::Failure(String::new()),
        Outcome::Training("x".into()),
    ] {
        assert_eq!(Outcome::decode(outcome.clone().encode()).ok(), Some(outcome));
    }
    for foreign in [&b""[..], b"{}", b"\xffT"] {
        assert!(Outcome::decode(foreign.to_vec()).is_err());
    }
}
