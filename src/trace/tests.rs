//! Lines of `traces.jsonl` and `failures.jsonl` are read back byte for byte.

use super::*;
use crate::adapter::AdapterKind;
use crate::lm::{InsteadOfText, LmResponse, Usage};
use crate::python::random::Random;
use crate::spec::CutAnswers;
use crate::task::TaskId;
use crate::value::Record;

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
        unknown: random.below(2).into(),
    };
    let instead = InsteadOfText {
        refusal: Some(text(random)),
        reasoning_chars: random.below(9).into(),
        tool_calls: vec![text(random)],
        ..InsteadOfText::default()
    };
    Exchange {
        messages: messages(random),
        answer: LmResponse {
            text: text(random),
            usage,
            finish_reason: (random.below(2) == 0).then(|| text(random)),
            instead: (random.below(2) == 0).then(|| Box::new(instead)),
        },
    }
}

fn unused(random: &mut Random) -> UnusedExchange {
    UnusedExchange {
        exchange: exchange(random),
        adapter: AdapterKind::Json,
        reason: text(random),
    }
}

fn calls(random: &mut Random) -> Vec<Call> {
    let calls = (0..random.below(4)).map(|_| Call {
        predictor: text(random),
        lm: text(random),
        inputs: Record::from_iter([
            (text(random), Value::Float(f64::NAN)),
            ("b".to_owned(), Value::Int(1)),
        ]),
        outputs: Record::from_iter([(
            text(random),
            Value::list([Value::None, Value::from(text(random))]),
        )]),
        used: exchange(random),
        unparsed: (0..random.below(3)).map(|_| exchange(random)).collect(),
        prompt: (random.below(2) == 0).then(|| messages(random)),
        assistant: text(random),
    });
    calls.collect()
}

fn trace(random: &mut Random) -> Trace {
    let calls = calls(random);
    let mut prediction = Prediction::default();
    for (number, call) in calls.iter().enumerate() {
        call.outputs
            .keys()
            .for_each(|name| prediction.merge(name, number));
    }
    Trace {
        task: TaskId::derive(&[text(random).as_bytes()]),
        trace_fingerprint: text(random),
        teacher: random.below(9),
        example: random.next_u32(),
        calls,
        prediction,
        score: Value::Float(0.5),
        kept: random.below(2) == 0,
    }
}

fn failure(random: &mut Random) -> Failure {
    let kinds = [
        FailureKind::Lm,
        FailureKind::Parse,
        FailureKind::Cut,
        FailureKind::Metric,
    ];
    let unparsed = (0..random.below(3)).map(|_| unused(random)).collect::<Vec<_>>();
    Failure {
        teacher: random.below(9),
        example: random.next_u32(),
        kind: kinds[random.below(4) as usize],
        message: text(random),
        attempts: random.below(9),
        predictor: (random.below(2) == 0).then(|| text(random)),
        raw_answer: (random.below(2) == 0).then(|| text(random)),
        status: (random.below(2) == 0).then_some(400),
        inputs: Record::from_iter([("q".to_owned(), Value::from(text(random)))]),
        answered: Answered::Calls {
            calls: calls(random),
            unparsed: (!unparsed.is_empty()).then(|| {
                Box::new(UnparsedCall {
                    lm: text(random),
                    exchanges: unparsed,
                })
            }),
        },
        task: TaskId::derive(&[text(random).as_bytes()]),
        trace_fingerprint: text(random),
    }
}

/// What a new run of a task finds of an exchange.
fn recorded(lm: &str, exchange: &Exchange) -> RecordedAnswer {
    RecordedAnswer {
        question: question(lm, &exchange.messages),
        lm: lm.to_owned(),
        answer: exchange.answer.clone(),
        latency_ms: None,
        endpoint: None,
    }
}

fn recorded_calls(calls: &[Call]) -> Vec<RecordedAnswer> {
    let of_call = |call: &Call| {
        let exchanges = call.unparsed.iter().chain([&call.used]);
        let recorded: Vec<RecordedAnswer> = exchanges.map(|exchange| recorded(&call.lm, exchange)).collect();
        recorded
    };
    calls.iter().flat_map(of_call).collect()
}

#[test]
fn line_index_finds_the_bytes_of_the_training_rows() {
    let mut random = Random::new(11);
    for _ in 0..2000 {
        let mut trace = trace(&mut random);
        // JSON has no NaN; what Python writes in its place is tested where it is written.
        trace.calls.iter_mut().for_each(|call| {
            call.inputs
                .retain(|_, value| *value != Value::Float(f64::NAN) && !matches!(value, Value::Float(_)))
        });
        let line = trace.clone().into_line();
        assert!(!line.contains('\n'));
        let index = LineIndex::parse(&line).expect("our own line");
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
fn line_answers_come_in_the_order_of_their_requests() {
    let mut random = Random::new(12);
    for _ in 0..500 {
        let trace = trace(&mut random);
        let answers = LineAnswers::parse(&trace.clone().into_line(), CutAnswers::Keep).expect("our own line");
        let all = recorded_calls(&trace.calls);
        let reusable = all.len();
        assert_eq!(answers, Some(LineAnswers { all, reusable }));
    }
}

#[test]
fn failure_line_has_every_answer_with_its_usage() {
    let mut random = Random::new(13);
    for _ in 0..500 {
        let failure = failure(&mut random);
        let line = failure.to_line();
        assert!(!line.contains('\n'));
        let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(json["message"], failure.message);
        assert!(json["inputs"]["q"].is_string(), "{line}");
        let Answered::Calls { calls, unparsed } = &failure.answered else {
            panic!("it has no records");
        };
        let mut all = recorded_calls(calls);
        let in_calls = all.len();
        if let Some(call) = unparsed {
            let exchanges = call.exchanges.iter();
            all.extend(exchanges.map(|unused| recorded(&call.lm, &unused.exchange)));
            for (written, unused) in json["unparsed"]
                .as_array()
                .expect("a list")
                .iter()
                .zip(&call.exchanges)
            {
                assert_eq!(written["adapter"], "json");
                assert_eq!(written["reason"], unused.reason);
            }
        }
        let is_unanswered = failure.kind == FailureKind::Lm && failure.status.is_none();
        let was_cut = unparsed.as_ref().is_some_and(|call| {
            let mut exchanges = call.exchanges.iter();
            exchanges.any(|unused| unused.exchange.answer.cut().is_some())
        });
        // What was cut and did not parse is refused by a job that drops cut answers, without another request.
        let is_refused = failure.kind == FailureKind::Parse && was_cut;
        let reusable = if is_unanswered || is_refused {
            all.len()
        } else {
            in_calls
        };
        let kept = LineAnswers::parse(&line, CutAnswers::Keep).expect("our own line");
        let reusable_if_kept = if is_unanswered || failure.kind == FailureKind::Cut {
            all.len()
        } else {
            in_calls
        };
        assert_eq!(kept.map(|answers| answers.reusable), Some(reusable_if_kept));
        let index = FailureIndex::parse(&line).expect("our own line");
        assert_eq!(
            (index.task, index.kind, index.example),
            (failure.task, failure.kind, failure.example)
        );
        let mut spent = Vec::new();
        for answer in &all {
            Spent::add(&mut spent, &answer.lm, 1, answer.answer.usage);
        }
        assert_eq!(index.spent, spent);
        let answers = LineAnswers::parse(&line, CutAnswers::Drop).expect("our own line");
        assert_eq!(answers, Some(LineAnswers { all, reusable }));
    }
}

#[test]
fn failure_line_with_records_reuses_all_but_the_last() {
    let mut random = Random::new(14);
    let records: Vec<RecordedAnswer> = (0..3)
        .map(|_| recorded("teacher", &exchange(&mut random)))
        .collect();
    let mut usage = Usage::default();
    records.iter().for_each(|record| usage += record.answer.usage);
    let failure = Failure {
        kind: FailureKind::Lost,
        answered: Answered::Records(records.clone()),
        ..failure(&mut random)
    };
    let line = failure.to_line();
    let index = FailureIndex::parse(&line).expect("our own line");
    let spent = Spent {
        lm: "teacher".to_owned(),
        answers: 3,
        usage,
    };
    assert_eq!(index.spent, [spent]);
    let answers = LineAnswers::parse(&line, CutAnswers::Keep)
        .expect("our own line")
        .expect("with answers");
    assert_eq!((answers.all, answers.reusable), (records, 2));
}

#[test]
fn failure_line_of_version_0_1_0_has_usage_and_no_answers() {
    let line = r#"{"teacher":0,"example":3,"kind":"parse","message":"m","attempts":2,"predictor":"p","raw_answer":"r","usage":[["teacher",{"prompt_tokens":5,"completion_tokens":1}]],"task":"000000000000000000000000000000ff","made_by":"x"}"#;
    let index = FailureIndex::parse(line).expect("a line of an earlier version");
    assert_eq!((index.example, index.spent[0].answers), (3, 1));
    assert_eq!(index.spent[0].usage.prompt_tokens, 5);
    assert_eq!(
        LineAnswers::parse(line, CutAnswers::Keep).expect("a line of an earlier version"),
        None
    );
}

#[test]
fn decode_returns_the_encoded_outcome_and_rejects_other_bytes() {
    for outcome in [
        Outcome::Trace("{\"é\":1}".into()),
        Outcome::Failure(String::new()),
        Outcome::Training("x".into()),
    ] {
        let plain = (outcome.clone(), AnswerNotes::default());
        assert_eq!(Outcome::decode(outcome.clone().encode()).ok(), Some(plain));
        if matches!(outcome, Outcome::Training(_)) {
            continue;
        }
        let mut notes = AnswerNotes::default();
        notes.answered("teacher", 250);
        let read = Outcome::decode(outcome.clone().encode_with(&notes));
        assert_eq!(read.ok(), Some((outcome, notes)));
    }
    for foreign in [&b""[..], b"{}", b"\xffT", b"{}t", b"{}\n{t"] {
        assert!(Outcome::decode(foreign.to_vec()).is_err());
    }
}
