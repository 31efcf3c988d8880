//! The index of a line of `traces.jsonl`: where its training rows lie.

use crate::config;
use bsft::lm::LmResponse;
use bsft::task::TaskId;
use bsft::trace::{Call, Exchange, LineIndex, Prediction, Trace};
use bsft::value::{Record, Value};
use proptest::collection::vec;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    "(\\PC|[\"\\\\\n\u{2028}]){0,30}"
}

/// A JSON array of messages, as compact JSON text.
fn messages() -> impl Strategy<Value = String> {
    vec(text(), 1..4).prop_map(|contents| {
        let messages: Vec<_> = contents
            .iter()
            .map(|content| serde_json::json!({"role": "user", "content": content}))
            .collect();
        serde_json::to_string(&messages).unwrap()
    })
}

fn exchange() -> impl Strategy<Value = Exchange> {
    (messages(), text()).prop_map(|(messages, raw_answer)| Exchange {
        messages,
        answer: LmResponse {
            text: raw_answer,
            ..LmResponse::default()
        },
    })
}

fn record() -> impl Strategy<Value = Record> {
    vec(("[a-z]{1,5}", text()), 0..3).prop_map(|fields| {
        fields
            .into_iter()
            .map(|(name, text)| (name, Value::Str(text)))
            .collect()
    })
}

fn call() -> impl Strategy<Value = Call> {
    (
        text(),
        text(),
        record(),
        record(),
        exchange(),
        vec(exchange(), 0..2),
        proptest::option::of(messages()),
        text(),
    )
        .prop_map(
            |(predictor, lm, inputs, outputs, used, unparsed, prompt, assistant)| Call {
                predictor,
                lm,
                inputs,
                outputs,
                used,
                unparsed,
                prompt,
                assistant,
            },
        )
}

fn trace() -> impl Strategy<Value = Trace> {
    (
        any::<[u8; 16]>(),
        text(),
        any::<(u32, u32, bool)>(),
        vec(call(), 0..4),
    )
        .prop_map(
            |(task, trace_fingerprint, (teacher, example, kept), calls)| Trace {
                task: TaskId(task),
                trace_fingerprint,
                teacher,
                example,
                calls,
                prediction: Prediction::default(),
                score: Value::Bool(kept),
                kept,
            },
        )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn line_index_finds_every_call_and_its_bytes(trace in trace()) {
        let line = trace.clone().into_line();
        let index = LineIndex::parse(&line).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(
            (index.task, &index.trace_fingerprint, index.teacher, index.example, index.kept),
            (trace.task, &trace.trace_fingerprint, trace.teacher, trace.example, trace.kept)
        );
        prop_assert_eq!(index.calls.len(), trace.calls.len());
        for (found, call) in index.calls.iter().zip(&trace.calls) {
            prop_assert_eq!((&found.predictor, &found.lm), (&call.predictor, &call.lm));
            prop_assert_eq!(found.exchanges as usize, 1 + call.unparsed.len());
            let bytes = |range: &std::ops::Range<u32>| &line[range.start as usize..range.end as usize];
            prop_assert_eq!(bytes(&found.prompt), call.prompt.as_ref().unwrap_or(&call.used.messages));
            let assistant: String = serde_json::from_str(bytes(&found.assistant)).unwrap();
            prop_assert_eq!(&assistant, &call.assistant);
        }
    }

    #[test]
    fn line_index_of_a_cut_line_is_an_error(trace in trace(), at in any::<prop::sample::Index>()) {
        let line = trace.into_line();
        let mut at = at.index(line.len());
        while !line.is_char_boundary(at) {
            at -= 1;
        }
        prop_assert!(LineIndex::parse(&line[..at]).is_err());
    }
}
