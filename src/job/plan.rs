//! The plan: an upper bound of a job's tasks, LM calls and cost, computed without LM calls.

mod account;

pub use account::{AccountPlan, limits_text};

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

/// The maximum number of examples, spread over the trainset, from which sizes are estimated.
const SAMPLES: usize = 200;
/// Characters per token: a rule of thumb for English.
const CHARS_PER_TOKEN: f64 = 4.0;
/// Estimated tokens of a field's header in an answer.
const HEADER_TOKENS: f64 = 8.0;
/// Estimated tokens of an output without a label.
const UNKNOWN_TOKENS: f64 = 20.0;
/// Estimated tokens of a ChainOfThought's reasoning.
const REASONING_TOKENS: f64 = 60.0;

/// An upper bound of what a job would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub name: String,
    /// The number of examples in the trainset.
    pub examples: u64,
    /// The number of teachers that run on each example.
    pub teachers: u64,
    /// The number of tasks: a task is one teacher on one example.
    pub tasks: u64,
    /// The calls of each LM, without retries after answers that do not parse.
    pub lms: Vec<LmPlan>,
    /// The calls of each account with declared limits.
    pub accounts: Vec<AccountPlan>,
    /// US dollars for all calls. `None` if a paid LM has no known price.
    pub cost: Option<f64>,
    /// The training files and fine-tune jobs.
    pub training: Vec<TrainingPlan>,
}

/// The calls of one LM.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LmPlan {
    /// The LM's name in the job file.
    pub lm: String,
    /// The model, such as `openai/gpt-4.1`.
    pub model: String,
    /// The number of calls.
    pub calls: u64,
    /// Estimated prompt tokens of all calls.
    pub prompt_tokens: u64,
    /// Estimated answer tokens of all calls.
    pub answer_tokens: u64,
    /// US dollars. `None` if no price is given.
    pub cost: Option<f64>,
}

/// One training file and the fine-tune job that reads it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainingPlan {
    /// The path of the file, relative to DIR.
    pub file: String,
    pub lm: String,
    /// The provider of the training.
    pub provider: String,
    /// The number of training rows if every example succeeds and the metric accepts it.
    pub rows_at_most: u64,
    /// The minimum number of validation rows in that case. Examples with equal inputs are held out together, so there may be more.
    pub kept_back: u64,
}

impl Plan {
    /// Plans a job, with prompts as its programs would write them.
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

    /// Plans a job. `estimate` returns the LM and the prompt characters of every call for an example.
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
        let accounts = account::accounts(spec, &lms);
        let teachers = spec.teachers.len() as u64;
        let name = spec.name.clone();
        Plan {
            name,
            examples,
            teachers,
            tasks: examples * teachers,
            lms,
            accounts,
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

/// Estimates the tokens of one answer. Outputs are as long as the example's labels.
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

/// One file per LM key: with `multitask` a key is an LM, otherwise an LM and a predictor.
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

/// The number of validation examples if all succeed. If fewer succeed, fewer remain for training as well.
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
            "{}: {} examples x {} {} = {} tasks\n",
            self.name,
            self.examples,
            self.teachers,
            if self.teachers == 1 { "teacher" } else { "teachers" },
            self.tasks
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
        if !self.accounts.is_empty() {
            let mut rows =
                vec![["account", "LMs", "calls", "declared limits", "takes at least"].map(str::to_owned)];
            rows.extend(self.accounts.iter().map(AccountPlan::row));
            table(f, &rows)?;
            writeln!(f)?;
        }
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
