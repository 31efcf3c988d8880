//! The job file: read, checked and planned before anything is spent.

mod check;
mod compile;
mod data;
pub mod definition;
pub mod example;
mod field_names;
mod finetune;
mod lm;
mod metric;
pub mod plan;
mod program;
mod rehearse;
mod source;
mod state;

pub use finetune::FinetuneSpec;

use crate::dataset::trainer_configs::TrainerArguments;
use crate::finetune::ProviderSpec;
use crate::program::ProgramSpec;
use crate::schema::{Problems, Section, Values};
use crate::spec::{JOB_SPEC_VERSION, JobSpec};
use crate::trainset::Trainset;
use definition::{JOB, TEACHER};
use indexmap::IndexMap;
use program::Draft;
use source::Sources;
use std::path::{Path, PathBuf};

/// A job file that was read and found good, with what it refers to.
#[derive(Debug)]
pub struct Job {
    /// The job file.
    pub file: PathBuf,
    /// Hex SHA-256 over the job file and every file that it pulls in except data.
    pub digest: String,
    /// What workers get.
    pub spec: JobSpec,
    /// What teachers are run on.
    pub trainset: Trainset,
    /// What is never trained on.
    pub devset: Option<Trainset>,
    /// How LMs are fine-tuned, by LM name; every LM of the student is in it.
    pub finetune: IndexMap<String, FinetuneSpec>,
    /// The run stops when a greater part of the examples (0..1) has failed.
    pub max_failure_rate: f64,
    /// What is allowed but hardly meant.
    pub warnings: Vec<String>,
}

/// Reads and checks a job file and everything that it names; reports all problems together.
pub fn read(path: &Path) -> Result<Job, Problems> {
    let mut problems = Problems::default();
    let sources = Sources::default();
    let job = sources
        .root(path, &mut problems)
        .and_then(|(file, node)| Section::root(file, node, &mut problems))
        .and_then(|root| assemble(&root, &sources, &mut problems));
    problems.or(job)
}

fn assemble(root: &Section<'_>, sources: &Sources, problems: &mut Problems) -> Option<Job> {
    let file = root.read(&JOB, problems);
    let name = name(&file, problems);
    let data = data::read(&file, problems);
    let lms = lm::read(&file, problems);
    let compile = compile::read(&file, problems);
    let metric = metric::read(&file, problems);
    let mut types = program::Types::default();
    let program = file.table("program", problems);
    let program = program.and_then(|table| program::read(&table, sources, &mut types, problems));
    let student_table = file.table("student", problems);
    let student = program
        .clone()
        .zip(student_table.as_ref())
        .map(|(mut draft, table)| {
            check::assign(&mut draft, table, &lms, problems);
            if let Some(item) = table.item("state") {
                state::take(&mut draft, item, sources, problems);
            }
            draft
        });
    let teachers = teachers(&file, program.as_ref(), sources, &lms, &mut types, problems);

    let drafts: Vec<&Draft<'_>> = student.iter().chain(&teachers).collect();
    if let Some(data) = &data {
        for draft in &drafts {
            check::provided(draft, &data.inputs, problems);
        }
    }
    if let Some((metric, place)) = &metric {
        check::scorable(metric, *place, &drafts, data.as_ref(), problems);
    }
    let places: Vec<_> = drafts.iter().map(|draft| draft.place).collect();
    let spec = |draft: Draft<'_>| ProgramSpec {
        predictors: draft.predictors.into_iter().map(|p| p.spec).collect(),
    };
    let student = spec(student?);
    check::tunable(&student, root.place, &lms, problems);
    check::files_apart(&student, compile.multitask, root.place, &lms, problems);
    let mut teachers: Vec<ProgramSpec> = teachers.into_iter().map(spec).collect();
    if teachers.is_empty() {
        teachers.push(student.clone());
    }
    let lines = lms.lines.clone();
    let (data, metric) = (data?, metric.map(|(metric, _)| metric));
    let mut warnings = warnings(&lms, &student, &teachers, metric.is_none());
    for (column, line, rows) in data.trainset.without_input() {
        let path = data.trainset.path().display();
        warnings.push(format!(
            "{path}:{line}: {rows} rows lack the input column `{column}` (this is the first); they run without it"
        ));
    }
    let mut job = Job {
        file: root.place.file.to_owned(),
        digest: sources.digest(),
        spec: JobSpec {
            version: JOB_SPEC_VERSION,
            name: name?,
            seed: file.count("seed").unwrap_or(0),
            inputs: data.inputs,
            types: types.written,
            lms: lms.settings,
            student,
            teachers,
            metric,
            adapter: compile.adapter,
            multitask: compile.multitask,
            exclude_demos: compile.exclude_demos,
        },
        trainset: data.trainset,
        devset: data.devset,
        finetune: lms.finetune,
        max_failure_rate: compile.max_failure_rate,
        warnings,
    };
    if problems.is_empty() {
        check::buildable(&job.spec, &places, problems);
        let close = check::enough_rows(&job, &lines, root.place, problems);
        job.warnings.extend(close);
        job.warnings.extend(unread_train_keys(&job));
    }
    Some(job)
}

fn name(file: &Values<'_>, problems: &mut Problems) -> Option<String> {
    if file.section().get("name").is_none() {
        let stem = file.place().file.file_stem();
        return Some(stem.map_or("job".to_owned(), |stem| stem.to_string_lossy().into_owned()));
    }
    let name = file.text("name")?;
    if let (Some(item), Some(why)) = (file.item("name"), lm::unfit_for_a_file_name(name)) {
        item.place.report(
            problems,
            format!("the job's name {why}"),
            "use letters, digits, `-` and `_`: a directory is named after it",
        );
    }
    Some(name.to_owned())
}

fn teachers<'a>(
    file: &Values<'a>,
    program: Option<&Draft<'a>>,
    sources: &'a Sources,
    lms: &lm::Lms,
    types: &mut program::Types,
    problems: &mut Problems,
) -> Vec<Draft<'a>> {
    let Some(item) = file.item("teacher") else {
        return Vec::new();
    };
    let items = if item.is_table() {
        vec![item.clone()]
    } else {
        item.list(&mut Problems::default()).unwrap_or_default()
    };
    let mut teachers = Vec::new();
    for item in items {
        let Some(section) = item.section(&mut Problems::default()) else {
            continue;
        };
        let teacher = section.read(&TEACHER, problems);
        let draft = match teacher.item("program") {
            None => program.cloned(),
            Some(item) if item.is_table() => teacher
                .table("program", problems)
                .and_then(|table| program::read(&table, sources, types, problems)),
            Some(item) => program::read_file(item, sources, types, problems),
        };
        let Some(mut draft) = draft else { continue };
        if let Some(program) = program {
            check::same_structure(program, &draft, problems);
        }
        check::assign(&mut draft, &teacher, lms, problems);
        if let Some(item) = teacher.item("state") {
            state::take(&mut draft, item, sources, problems);
        }
        teachers.push(draft);
    }
    teachers
}

/// Keys of `train` that go into none of the configurations that `export` writes.
fn unread_train_keys(job: &Job) -> Vec<String> {
    let exported = job
        .finetune
        .iter()
        .filter(|(_, finetune)| matches!(finetune.provider, ProviderSpec::Export(_)));
    let unread = exported.flat_map(|(lm, finetune)| {
        let left_out = TrainerArguments::of(&finetune.train).left_out;
        left_out.into_iter().map(move |key| {
            format!(
                "[lm.{lm}.finetune]: the configurations that `export` writes have no place for `train.{key}`"
            )
        })
    });
    unread.collect()
}

fn warnings(lms: &lm::Lms, student: &ProgramSpec, teachers: &[ProgramSpec], unfiltered: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if unfiltered {
        warnings.push("there is no [metric]: every trace is kept, right or wrong".to_owned());
    }
    let used: Vec<&str> = teachers
        .iter()
        .chain([student])
        .flat_map(|p| &p.predictors)
        .map(|p| p.lm.as_str())
        .collect();
    for name in lms.settings.keys().filter(|name| !used.contains(&name.as_str())) {
        warnings.push(format!("no predictor uses [lm.{name}]"));
    }
    warnings
}

#[cfg(test)]
mod tests;
