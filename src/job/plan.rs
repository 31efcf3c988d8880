//! The plan: what a job would run, ask and cost, told without asking any LM.

use super::{Job, JobSpec};
use crate::dataset::Split;
use crate::finetune::{DataPart, file_name, key_name};
use crate::program::Program;
use crate::program::{ModuleKind, PredictorSpec, ProgramSpec};
use crate::value::{Record, Value};
use indexmap::IndexMap;
use serde::Serialize;
use std::collections::HashSet;
use std::fmt;

/// Sizes are estimated from at most so many examples, spread over the trainset.
const SAMPLES: usize = 200;
/// Characters of a token, as a rule of thumb for English.
const CHARS_PER_TOKEN: f64 = 4.0;
/// Tokens of a field's header in an answer.
const HEADER_TOKENS: f64 = 8.0;
/// Tokens of an output that no label shows the length of.
const UNKNOWN_TOKENS: f64 = 20.0;
/// Tokens of a ChainOfThought's reasoning.
const REASONING_TOKENS: f64 = 60.0;

/// What a job would do at most.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The job's name.
    pub name: String,
    /// Rows of the trainset.
    pub examples: u64,
    /// Programs that are run on each.
    pub teachers: u64,
    /// Runs of a teacher on an example.
    pub tasks: u64,
    /// What each LM is asked, repeats after unreadable answers not counted.
    pub lms: Vec<LmPlan>,
    /// US dollars for all calls; none where the price of an LM that is paid for is unknown.
    pub cost: Option<f64>,
    /// The training files and fine-tune jobs.
    pub training: Vec<TrainingPlan>,
}

/// What one LM is asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LmPlan {
    /// Its name in the job file.
    pub lm: String,
    /// Such as `openai/gpt-4.1`.
    pub model: String,
    /// Questions.
    pub calls: u64,
    /// Estimated tokens of all questions.
    pub prompt_tokens: u64,
    /// Estimated tokens of all answers.
    pub answer_tokens: u64,
    /// US dollars; none: no price is given.
    pub cost: Option<f64>,
}

/// One training file and the fine-tune job that reads it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainingPlan {
    /// Relative to DIR.
    pub file: String,
    /// The LM that is trained.
    pub lm: String,
    /// Who trains it.
    pub provider: String,
    /// Rows that are trained on if every example succeeds and the metric accepts it.
    pub rows_at_most: u64,
    /// How many more are kept back to measure with then, or more of them: examples with the same inputs are kept back together.
    pub kept_back: u64,
}

impl Plan {
    /// The plan of a job, with prompts as its programs would write them.
    pub fn new(job: &Job) -> Plan {
        let teachers: Vec<_> = job
            .spec
            .teachers
            .iter()
            .filter_map(|teacher| Program::build(teacher, &job.spec.program_settings()).ok())
            .collect();
        Plan::estimated(job, |example| {
            let sizes = teachers.iter().flat_map(|teacher| teacher.prompt_sizes(example));
            sizes.map(|(lm, chars)| (lm.to_owned(), chars)).collect()
        })
    }

    /// The plan of a job; `estimate` gives, for an example, the LM and prompt characters of every call.
    pub fn estimated(job: &Job, estimate: impl Fn(&Record) -> Vec<(String, usize)>) -> Plan {
        let spec = &job.spec;
        let examples = job.trainset.len() as u64;
        let mut lms: IndexMap<&str, (u64, f64, f64)> = IndexMap::new();
        for predictor in spec.teachers.iter().flat_map(|teacher| &teacher.predictors) {
            lms.entry(&predictor.lm).or_default().0 += examples * u64::from(predictor.repeat);
        }
        let rows = job.trainset.len();
        let sampled = rows.min(SAMPLES);
        for example in (0..sampled).filter_map(|i| job.trainset.example(i * rows / sampled).ok()) {
            let weight = examples as f64 / sampled as f64;
            for (lm, chars) in estimate(&example) {
                if let Some((_, prompt, _)) = lms.get_mut(lm.as_str()) {
                    *prompt += weight * chars as f64 / CHARS_PER_TOKEN;
                }
            }
            for predictor in spec.teachers.iter().flat_map(|teacher| &teacher.predictors) {
                if let Some((.., answer)) = lms.get_mut(predictor.lm.as_str()) {
                    *answer +=
                        weight * f64::from(predictor.repeat) * answer_tokens(predictor, spec, &example);
                }
            }
        }
        let lms: Vec<LmPlan> = lms
            .into_iter()
            .map(|(lm, asked)| lm_plan(lm, asked, spec))
            .collect();
        let cost = lms.iter().map(|lm| lm.cost).sum();
        let teachers = spec.teachers.len() as u64;
        let name = spec.name.clone();
        Plan {
            name,
            examples,
            teachers,
            tasks: examples * teachers,
            lms,
            cost,
            training: training(job),
        }
    }
}

fn lm_plan(lm: &str, (calls, prompt, answer): (u64, f64, f64), spec: &JobSpec) -> LmPlan {
    let settings = spec.lms.get(lm);
    let model = settings.map(|s| s.model.clone()).unwrap_or_default();
    let free = model.starts_with("simulated/").then_some(0.0);
    let cost = settings
        .and_then(|s| s.price)
        .map(|p| (prompt * p.input + answer * p.output) / 1e6);
    LmPlan {
        lm: lm.to_owned(),
        model,
        calls,
        prompt_tokens: prompt.round() as u64,
        answer_tokens: answer.round() as u64,
        cost: cost.or(free),
    }
}

/// Tokens of one answer: labels have the length that the example gives.
fn answer_tokens(predictor: &PredictorSpec, spec: &JobSpec, example: &Record) -> f64 {
    let reasoning = match predictor.module {
        ModuleKind::ChainOfThought => HEADER_TOKENS + REASONING_TOKENS,
        ModuleKind::Predict => 0.0,
    };
    let field = spec.metric.as_ref().map(|metric| metric.field.as_str());
    let label = match field.and_then(|field| example.get(field)) {
        Some(Value::Str(text)) => text.len() as f64 / CHARS_PER_TOKEN,
        _ => UNKNOWN_TOKENS,
    };
    // The closing marker counts as a header.
    reasoning + 2.0 * HEADER_TOKENS + label
}

/// One file per LM key: the LM with `multitask`, else the LM and the predictor.
pub(super) fn training(job: &Job) -> Vec<TrainingPlan> {
    let (spec, examples) = (&job.spec, job.trainset.len() as u64);
    let calls = |program: &ProgramSpec, only: Option<usize>| {
        let own = program
            .predictors
            .iter()
            .enumerate()
            .filter(|(i, _)| only.is_none_or(|o| o == *i));
        own.map(|(_, p)| u64::from(p.repeat)).sum::<u64>()
    };
    let mut training: Vec<TrainingPlan> = Vec::new();
    for (i, predictor) in spec.student.predictors.iter().enumerate() {
        let (name, only) = if spec.multitask {
            (None, None)
        } else {
            (Some(predictor.predictor_name()), Some(i))
        };
        let key = key_name(&predictor.lm, name.as_deref());
        let file = format!("data/{}", file_name(&key, DataPart::Training, None));
        if training.iter().any(|known| known.file == file) {
            continue;
        }
        let rows_of_example: u64 = spec.teachers.iter().map(|teacher| calls(teacher, only)).sum();
        let finetune = job.finetune.get(&predictor.lm);
        let kept_back = finetune.map_or(0, |finetune| kept_back(job, finetune.validation_fraction));
        training.push(TrainingPlan {
            file,
            lm: predictor.lm.clone(),
            provider: finetune.map_or_else(String::new, |finetune| finetune.provider.name().to_owned()),
            rows_at_most: (examples - kept_back) * rows_of_example,
            kept_back: kept_back * rows_of_example,
        });
    }
    training
}

/// How many examples are sure to be kept back when all succeed. With fewer that do, fewer are left to train on as well.
fn kept_back(job: &Job, fraction: f64) -> u64 {
    if fraction <= 0.0 {
        return 0;
    }
    let inputs: HashSet<u64> = (0..job.trainset.len())
        .filter_map(|example| job.trainset.row_digest(example))
        .collect();
    Split::size(inputs.len(), fraction) as u64
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dollars = |cost: Option<f64>| cost.map_or("unknown".to_owned(), |c| format!("${c:.2}"));
        writeln!(
            f,
            "{}: {} examples x {} teachers = {} tasks\n",
            self.name, self.examples, self.teachers, self.tasks
        )?;
        let mut rows =
            vec![["LM", "model", "calls", "prompt tokens", "answer tokens", "cost"].map(str::to_owned)];
        rows.extend(self.lms.iter().map(|lm| {
            let about = |tokens: u64| format!("~{tokens}");
            let (prompt, answer) = (about(lm.prompt_tokens), about(lm.answer_tokens));
            [
                lm.lm.clone(),
                lm.model.clone(),
                lm.calls.to_string(),
                prompt,
                answer,
                dollars(lm.cost),
            ]
        }));
        table(f, &rows)?;
        writeln!(f)?;
        let mut rows =
            vec![["training file", "rows at most", "kept back", "fine-tuned by"].map(str::to_owned)];
        rows.extend(self.training.iter().map(|t| {
            let (rows, kept_back) = (t.rows_at_most.to_string(), t.kept_back.to_string());
            [t.file.clone(), rows, kept_back, t.provider.clone()]
        }));
        table(f, &rows)?;
        write!(f, "\nestimated cost of all LM calls: {}", dollars(self.cost))
    }
}

fn table<const N: usize>(f: &mut fmt::Formatter<'_>, rows: &[[String; N]]) -> fmt::Result {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(i, cell)| format!("{cell:<width$}", width = width(i)))
            .collect();
        writeln!(f, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
