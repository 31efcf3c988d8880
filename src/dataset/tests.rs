//! Tests of the export with seeded random traces.

use super::*;
use crate::adapter::AdapterKind;
use crate::finetune::{DataPart, ProviderSpec, RowFormat, ServiceSpec, TrainingSpec, file_name};
use crate::trace::LineIndex;
use std::collections::HashSet;
use std::fs::{self, File};
use tempfile::TempDir;

/// Traces of several teachers on some examples, in a file.
struct RandomTraces {
    dir: TempDir,
    rows: RowIndex,
    /// The example of a task; several may have the same inputs.
    digests: Vec<u64>,
}

impl RandomTraces {
    /// The user's and the assistant's text of each task's calls, and whether the metric kept the trace.
    fn new(examples: &[u64], tasks: &[(Vec<(String, String)>, bool)]) -> RandomTraces {
        let dir = tempfile::tempdir().expect("a folder");
        let mut rows = RowIndex::new(tasks.len());
        let mut text = String::new();
        for (task, (calls, kept)) in tasks.iter().enumerate() {
            let calls: Vec<String> = calls
                .iter()
                .map(|(user, assistant)| call(user, assistant))
                .collect();
            let line = format!(
                "{{\"teacher\":0,\"example\":{task},\"score\":1,\"kept\":{kept},\"prediction\":{{}},\"calls\":[{}],\
                 \"task\":\"{}\",\"made_by\":\"m\"}}",
                calls.join(","),
                crate::task::TaskId::derive(&[&task.to_le_bytes()]),
            );
            let index = LineIndex::parse(&line).expect("a line");
            rows.enter(
                task,
                text.len() as u64,
                line.len() as u32,
                &index,
                &["p".to_owned()],
            );
            text.push_str(&line);
            text.push('\n');
        }
        fs::write(dir.path().join("traces.jsonl"), text).expect("written");
        let digests = (0..tasks.len())
            .map(|task| examples[task % examples.len()])
            .collect();
        RandomTraces { dir, rows, digests }
    }

    fn random(seed: u64) -> RandomTraces {
        let mut random = fastrand::Rng::with_seed(seed);
        // Few different values, so that equal inputs and duplicate rows occur.
        let examples: Vec<u64> = (0..random.usize(2..40)).map(|_| random.u64(0..30)).collect();
        let tasks: Vec<_> = (0..examples.len() * random.usize(1..4))
            .map(|task| {
                let user = format!("q{}", examples[task % examples.len()]);
                let calls = (0..random.usize(1..3))
                    .map(|call| (format!("{user} c{call}"), format!("a{}", random.u8(0..3))));
                (calls.collect(), random.u8(0..4) > 0)
            })
            .collect();
        RandomTraces::new(&examples, &tasks)
    }

    fn write(&self, fraction: f64, formats: &[RowFormat]) -> ExportResult {
        self.write_by(NO_RULES, fraction, formats)
    }

    fn write_by(&self, rules: RowRules, fraction: f64, formats: &[RowFormat]) -> ExportResult {
        let key = LmKey {
            lm: "s".to_owned(),
            predictor: None,
        };
        let example = |task: u32| self.digests[task as usize];
        let wanted = ExportRequest {
            split: &Split::draw(
                self.rows.kept_of(&key).map(|(task, _)| example(task)),
                fraction,
                0,
            ),
            key: &key,
            example: &example,
            formats,
            rules,
            path: &|part, format| self.dir.path().join(file_name("s", part, format)),
        };
        let traces = File::open(self.dir.path().join("traces.jsonl")).expect("the traces");
        write_data(&traces, &self.rows, &wanted).expect("a disk with room")
    }

    fn lines(&self, part: DataPart, format: Option<RowFormat>) -> Vec<String> {
        let path = self.dir.path().join(file_name("s", part, format));
        fs::read_to_string(path)
            .expect("a file")
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

/// Rules without a limit.
const NO_RULES: RowRules = RowRules {
    adapter: AdapterKind::Chat,
    length_limit: None,
    refuses_system: false,
};

/// A training of `openai/google/gemma-2-2b-it` with this provider.
fn training(provider: ProviderSpec) -> TrainingSpec {
    TrainingSpec {
        job: "j".to_owned(),
        lm: "s".to_owned(),
        predictor: None,
        model: "openai/google/gemma-2-2b-it".to_owned(),
        seed: 0,
        train: Default::default(),
        provider,
    }
}

fn call(user: &str, assistant: &str) -> String {
    format!(
        "{{\"predictor\":\"p\",\"lm\":\"l\",\"inputs\":{{}},\"outputs\":{{}},\"messages\":[{{\"role\":\"user\",\"content\":\"{user}\"}}],\
         \"raw_answer\":\"\",\"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":2}},\"assistant\":\"{assistant}\"}}"
    )
}

/// The example that a row of random traces was made of.
fn example(line: &str) -> &str {
    let words = line.split_once("\"q").expect("a question").1;
    words.split_once(' ').expect("a call").0
}

#[test]
fn training_and_validation_files_together_keep_all_rows_in_order() {
    for seed in 0..60 {
        let traces = RandomTraces::random(seed);
        traces.write(0.0, &[]);
        let all = traces.lines(DataPart::Training, None);
        let written = traces.write(0.3, &[]);
        let training = traces.lines(DataPart::Training, None);
        let validation = match &written.validation {
            Some(_) => traces.lines(DataPart::Validation, None),
            None => Vec::new(),
        };
        let held: HashSet<&str> = validation.iter().map(|line| example(line)).collect();
        let (ours, theirs): (Vec<&String>, Vec<&String>) =
            all.iter().partition(|line| held.contains(example(line)));
        assert_eq!(ours, validation.iter().collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(theirs, training.iter().collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn validation_fraction_counts_examples_with_rows() {
    for seed in 0..60 {
        let traces = RandomTraces::random(seed);
        traces.write(0.0, &[]);
        let all = traces.lines(DataPart::Training, None);
        let examples: HashSet<&str> = all.iter().map(|line| example(line)).collect();
        let written = traces.write(0.3, &[]);
        if examples.len() < 2 {
            assert_eq!(written.validation, None);
            continue;
        }
        let validation = traces.lines(DataPart::Validation, None);
        let held: HashSet<&str> = validation.iter().map(|line| example(line)).collect();
        let wanted = (examples.len() as f64 * 0.3).round() as usize;
        assert_eq!(held.len(), wanted.max(1), "seed {seed}");
    }
}

#[test]
fn every_format_has_all_rows_in_the_same_order() {
    let traces = RandomTraces::random(5);
    traces.write(0.4, &RowFormat::ALL);
    for part in [DataPart::Training, DataPart::Validation] {
        let rows = traces.lines(part, None);
        for format in RowFormat::ALL {
            let lines = traces.lines(part, Some(format));
            assert_eq!(lines.len(), rows.len());
            for (line, row) in lines.iter().zip(&rows) {
                assert_eq!(example(line), example(row), "{format:?}");
            }
        }
    }
}

#[test]
fn checks_match_the_content_of_the_file() {
    for seed in 0..40 {
        let traces = RandomTraces::random(seed);
        let checks = traces.write(0.0, &[]).checks;
        let lines = traces.lines(DataPart::Training, None);
        let distinct: HashSet<&String> = lines.iter().collect();
        assert_eq!(checks.rows, lines.len() as u64);
        assert_eq!(
            checks.bytes,
            lines.iter().map(|line| line.len() as u64 + 1).sum::<u64>()
        );
        assert_eq!(checks.duplicates, (lines.len() - distinct.len()) as u64);
    }
}

fn one_call(user: &str, assistant: &str) -> (Vec<(String, String)>, bool) {
    (vec![(user.to_owned(), assistant.to_owned())], true)
}

#[test]
fn estimated_tokens_ignore_json_escapes() {
    // 8 bytes, of which the file needs 9, and 4 of the answer.
    let traces = RandomTraces::new(&[1], &[one_call("naïve\\n!", "okay")]);
    let checks = traces.write(0.0, &[]).checks;
    assert_eq!(
        (
            checks.estimated_tokens,
            checks.longest_tokens,
            checks.longest_line
        ),
        (3, 3, 1)
    );
}

#[test]
fn longest_line_is_the_line_of_the_longest_row() {
    let long = "x".repeat(400);
    let traces = RandomTraces::new(
        &[1, 2, 3],
        &[one_call("a", "b"), one_call(&long, "b"), one_call("c", "d")],
    );
    let written = traces.write(0.0, &[]);
    let line = traces.lines(DataPart::Training, None)[written.checks.longest_line as usize - 1].clone();
    assert!(line.contains(&long));
    assert_eq!(written.checks.longest_tokens, 100);
    assert!(written.room >= 401);
}

#[test]
fn room_includes_validation_rows() {
    let long = "x".repeat(4000);
    for which in 0..2 {
        let mut calls = vec![one_call("a", "b"), one_call("c", "d")];
        calls[which] = one_call(&long, "b");
        assert!(RandomTraces::new(&[1, 2], &calls).write(0.5, &[]).room > 4000);
    }
}

#[test]
fn warnings_cover_empty_answers_duplicates_and_in_both() {
    let calls = [
        one_call("same", ""),
        one_call("same", ""),
        one_call("same", ""),
        one_call("other", "b"),
    ];
    // The examples differ, the rows do not.
    let checks = RandomTraces::new(&[1, 2, 3, 4], &calls).write(0.5, &[]).checks;
    let warnings = checks.warnings(&training(ProviderSpec::Simulated)).join("\n");
    assert_eq!(checks.rows, 2);
    assert!(checks.in_both > 0, "{checks:?}");
    for words in ["empty answer", "are trained on, too"] {
        assert!(warnings.contains(words), "{warnings}");
    }
    let checks = RandomTraces::new(&[1, 2, 3, 4], &calls).write(0.0, &[]).checks;
    assert_eq!(
        (checks.duplicates, checks.empty_answers, checks.in_both),
        (2, 3, 0)
    );
    let warnings = checks.warnings(&training(ProviderSpec::Simulated));
    assert!(warnings[0].contains("2 of 4 training rows are duplicates"));
}

#[test]
fn warnings_report_a_file_too_large_for_openai_only_there() {
    let checks = Checks {
        rows: 10,
        bytes: 600_000_000,
        ..Checks::default()
    };
    assert!(checks.warnings(&training(ProviderSpec::Simulated)).is_empty());
    let openai = ProviderSpec::Openai(ServiceSpec::default());
    assert!(checks.warnings(&training(openai))[0].contains("512000000"));
}

#[test]
fn warnings_are_empty_for_an_ordinary_file() {
    let calls: Vec<_> = (0..30).map(|i| one_call(&format!("q{i}"), "a")).collect();
    let examples: Vec<u64> = (0..30).collect();
    let checks = RandomTraces::new(&examples, &calls).write(0.2, &[]).checks;
    assert!(
        checks.warnings(&training(ProviderSpec::Simulated)).is_empty(),
        "{checks:?}"
    );
}

#[test]
fn checks_count_rows_beyond_the_length_limit() {
    let calls = [
        one_call(&"x".repeat(396), "[[ ## a ## ]]\\nfour"),
        one_call(&"x".repeat(4000), "b"),
        one_call("c", "d"),
    ];
    let rules = RowRules {
        length_limit: Some(103),
        ..NO_RULES
    };
    let checks = RandomTraces::new(&[1, 2, 3], &calls)
        .write_by(rules, 0.0, &[])
        .checks;
    assert_eq!((checks.too_long, checks.length_limit), (1, Some(103)));
    let warnings = checks.warnings(&training(ProviderSpec::Simulated));
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("1 of 3 training rows have more than the 103 tokens"),
        "{warnings:?}"
    );
}

#[test]
fn checks_count_answers_whose_fields_are_all_empty() {
    let empty = "[[ ## answer ## ]]\\n\\n\\n[[ ## completed ## ]]\\n";
    let full = "[[ ## answer ## ]]\\nx\\n\\n[[ ## completed ## ]]\\n";
    let calls = [one_call("a", empty), one_call("b", full)];
    let checks = RandomTraces::new(&[1, 2], &calls).write(0.0, &[]).checks;
    assert_eq!(checks.empty_answers, 1);
}

#[test]
fn checks_count_system_messages_that_the_template_refuses() {
    let checks = Checks {
        rows: 2,
        refused_system: 2,
        ..Checks::default()
    };
    let warnings = checks.warnings(&training(ProviderSpec::Export(Default::default())));
    assert!(
        warnings[0].contains("2 of 2 training rows begin with a system message")
            && warnings[0].contains("google/gemma-2-2b-it"),
        "{warnings:?}"
    );
    let line = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"u"},{"role":"assistant","content":"a"}]}"#;
    let row = crate::finetune::Conversation::read(line).expect("a row");
    for (refuses_system, count) in [(true, 1), (false, 0)] {
        let mut checker = checks::Checker::new(RowRules {
            refuses_system,
            ..NO_RULES
        });
        checker.see(line.as_bytes(), &row);
        let checks = checker.conclude(&checks::Checker::new(NO_RULES));
        assert_eq!(checks.refused_system, count);
    }
}
