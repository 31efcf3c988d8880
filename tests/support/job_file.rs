//! Job files and trainsets for tests, and the lines that runs leave.

use super::Folder;
use serde_json::Value;
use std::fmt::Write as _;

/// A line of a JSONL file.
pub(crate) type Line = Value;

/// A job of two predictors, so that a task can die between two questions. Every part is TOML that a test may replace.
pub(crate) struct JobFile {
    /// Further keys of `[data]`.
    pub(crate) data: String,
    /// `[lm.teacher]`, without its heading.
    pub(crate) teacher: String,
    /// `[[teacher]]` and what belongs to it.
    pub(crate) teachers: String,
    /// Instructions of the first predictor.
    pub(crate) instructions: String,
    /// `[metric]`, without its heading; empty: no metric.
    pub(crate) metric: String,
    /// `[lm.student.finetune]`, without its heading.
    pub(crate) finetune: String,
    /// `[compile]`, without its heading.
    pub(crate) compile: String,
}

impl JobFile {
    /// On the LM server at that address. Held answers are waited for, however long a test takes.
    pub(crate) fn at(api_base: &str) -> JobFile {
        JobFile::with_teacher(&format!(
            "model = \"openai/teacher\"\napi_base = \"{api_base}\"\nnum_retries = 3\nmin_timeout_secs = 600"
        ))
    }

    /// On the LM that this table describes.
    pub(crate) fn with_teacher(teacher: &str) -> JobFile {
        JobFile {
            data: String::new(),
            teacher: teacher.to_owned(),
            teachers: "[[teacher]]\nlm = \"teacher\"".to_owned(),
            instructions: "Think of a plan.".to_owned(),
            metric: "exact_match = \"answer\"".to_owned(),
            finetune: "provider = \"simulated\"".to_owned(),
            compile: String::new(),
        }
    }

    pub(crate) fn to_toml(&self) -> String {
        let JobFile {
            data,
            teacher,
            teachers,
            instructions,
            metric,
            finetune,
            compile,
        } = self;
        let metric = match metric.as_str() {
            "" => String::new(),
            metric => format!("[metric]\n{metric}\n"),
        };
        format!(
            r#"name = "tested"
[data]
trainset = "train.jsonl"
inputs = ["question"]
{data}
[[program.predictors]]
name = "plan"
module = "Predict"
signature = "question -> plan"
instructions = "{instructions}"
demos = [{{ question = "Where does the demo live?", plan = "Look into demo.toml." }}]
[[program.predictors]]
name = "answer"
module = "ChainOfThought"
signature = "question, plan -> answer"
[lm.teacher]
{teacher}
[lm.student]
model = "openai/small"
[lm.student.finetune]
{finetune}
[student]
lm = "student"
{teachers}
{metric}
[compile]
{compile}
"#
        )
    }

    /// Puts the job and a trainset of `examples` questions into the folder.
    pub(crate) fn write(&self, folder: &Folder, examples: usize) {
        folder.write("train.jsonl", questions(examples));
        folder.write("job.toml", self.to_toml());
    }
}

/// A trainset: no two questions are alike, a third of the golden answers is likely to be given.
pub(crate) fn questions(examples: usize) -> String {
    const GOLD: [&str; 4] = ["paris", "seven", "blue", "river"];
    let mut out = String::new();
    for example in 0..examples {
        let gold = GOLD[example % GOLD.len()];
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            r#"{{"question": "Question {example}, «naïve» \\ \"quoted\"? gold={gold}", "answer": "{gold}"}}"#
        );
    }
    out
}

/// The lines of a JSONL file.
#[track_caller]
pub(crate) fn lines(text: &str) -> Vec<Line> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
