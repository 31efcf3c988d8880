//! The job file: read, checked and planned before anything is spent.

mod check;
mod compile;
mod data;
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
use crate::schema::{Problems, Section};
use crate::spec::{JOB_SPEC_VERSION, JobSpec};
use crate::trainset::Trainset;
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

const KEYS: [&str; 9] = [
    "name", "seed", "data", "program", "lm", "student", "teacher", "metric", "compile",
];

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
    root.only(&KEYS, problems);
    let name = name(root, problems);
    let seed = root
        .get("seed")
        .and_then(|item| item.count(0, problems))
        .unwrap_or(0);
    let data = data::read(root, problems);
    let lms = lm::read(root, problems);
    let compile = compile::read(root, problems);
    let metric = metric::read(root, problems);
    let mut types = program::Types::default();
    let program = root
        .need("program", "{ predictors = [ … ] }", problems)
        .and_then(|item| item.section(problems));
    let program = program.and_then(|section| program::read(&section, sources, &mut types, problems));
    let student_section = root
        .need("student", "{ lm = \"NAME\" }", problems)
        .and_then(|s| s.section(problems));
    if let Some(section) = &student_section {
        section.only(&["lm", "state"], problems);
    }
    let student = program
        .clone()
        .zip(student_section.as_ref())
        .map(|(mut draft, section)| {
            check::assign(&mut draft, section, &lms, problems);
            if let Some(item) = section.get("state") {
                state::take(&mut draft, &item, sources, problems);
            }
            draft
        });
    let teachers = teachers(root, program.as_ref(), sources, &lms, &mut types, problems);

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
            seed,
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

fn name(root: &Section<'_>, problems: &mut Problems) -> Option<String> {
    let Some(item) = root.get("name") else {
        return Some(
            root.place
                .file
                .file_stem()
                .map_or("job".to_owned(), |s| s.to_string_lossy().into_owned()),
        );
    };
    let name = item.word(problems)?;
    if let Some(why) = lm::unfit_for_a_file_name(name) {
        item.place.report(
            problems,
            format!("the job's name {why}"),
            "use letters, digits, `-` and `_`: a directory is named after it",
        );
    }
    Some(name.to_owned())
}

fn teachers<'a>(
    root: &Section<'a>,
    program: Option<&Draft<'a>>,
    sources: &'a Sources,
    lms: &lm::Lms,
    types: &mut program::Types,
    problems: &mut Problems,
) -> Vec<Draft<'a>> {
    let Some(item) = root.get("teacher") else {
        return Vec::new();
    };
    let items = if item.is_table() {
        vec![item]
    } else {
        item.list(problems).unwrap_or_default()
    };
    let mut teachers = Vec::new();
    for item in items {
        let Some(section) = item.section(problems) else {
            continue;
        };
        section.only(&["lm", "state", "program"], problems);
        let draft = match section.get("program") {
            None => program.cloned(),
            Some(item) if item.is_table() => item
                .section(problems)
                .and_then(|s| program::read(&s, sources, types, problems)),
            Some(item) => program::read_file(&item, sources, types, problems),
        };
        let Some(mut draft) = draft else { continue };
        if let Some(program) = program {
            check::same_structure(program, &draft, problems);
        }
        check::assign(&mut draft, &section, lms, problems);
        if let Some(item) = section.get("state") {
            state::take(&mut draft, &item, sources, problems);
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
