//! The job file: read, checked and planned before any money is spent.

mod access;
mod account;
mod check;
mod compile;
mod data;
mod endpoints;
mod finetune;
pub mod init_example;
mod job_files;
mod keys;
mod lm;
mod metric;
pub mod plan;
mod program;
mod rehearse;
mod signature_fields;
mod state;
mod warnings;

pub use finetune::FinetuneSpec;
pub use lm::KeyVariable;

use crate::dataset::LmKey;
use crate::finetune::TrainingSpec;
use crate::program::ProgramSpec;
use crate::schema::definition::{Table as _, TableDefinition};
use crate::schema::form::{EitherValue, Read};
use crate::schema::{Problems, Section};
use crate::spec::{JOB_SPEC_VERSION, JobSpec};
use crate::trainset::Trainset;
use compile::CompileOptions;
use data::Data;
use indexmap::IndexMap;
use job_files::Sources;
use keys::{JobTable, TeacherTable};
use lm::Lms;
use program::Draft;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A valid job, with all files that the job file refers to.
#[derive(Debug)]
pub struct Job {
    /// The path of the job file.
    pub file: PathBuf,
    /// Hex SHA-256 over the job file and every file that it refers to, except data.
    pub digest: String,
    /// The part of the job that workers get.
    pub spec: JobSpec,
    /// The examples that teachers run on.
    pub trainset: Trainset,
    /// Examples that are never trained on.
    pub devset: Option<Trainset>,
    /// The fine-tune settings by LM name, for every LM of the student.
    pub finetune: IndexMap<String, FinetuneSpec>,
    /// The environment variables that the file names for API keys.
    pub key_variables: Vec<KeyVariable>,
    /// The run stops when more than this fraction (0..1) of the latest examples failed. With 1.0, a run whose metric keeps nothing
    /// continues, too.
    pub max_failure_rate: f64,
    /// The run stops when an LM server that has answered before is away for longer. No id depends on it.
    pub patience: Duration,
    /// Warnings: what is allowed but probably a mistake.
    pub warnings: Vec<String>,
}

impl Job {
    /// The training of an LM key: the model, the provider and its settings.
    pub fn training_spec(&self, key: &LmKey) -> TrainingSpec {
        let finetune = &self.finetune[&key.lm];
        let own = &self.spec.lms[&key.lm].model;
        TrainingSpec {
            job: self.spec.name.clone(),
            lm: key.lm.clone(),
            predictor: key.predictor.as_ref().map(|(_, name)| name.clone()),
            model: finetune.model.as_ref().unwrap_or(own).clone(),
            seed: self.spec.seed,
            train: finetune.train.clone(),
            provider: finetune.provider.clone(),
        }
    }
}

/// The title of the job file's JSON Schema.
pub(crate) const SCHEMA_TITLE: &str = "bsft job file";

/// The keys of the job file.
pub(crate) fn definition() -> TableDefinition {
    JobTable::definition()
}

/// Reports the problems of each key and value of a document. Checks between sections are not included.
#[cfg(test)]
pub(crate) fn problems_of_keys(file: &Path, node: &crate::schema::document::Node) -> Problems {
    let mut problems = Problems::default();
    if let Some(root) = Section::root(file, node, &mut problems) {
        JobTable::read(&root, &mut problems);
    }
    problems
}

/// Reads and checks a job file and every file that it names. Reports all problems together.
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
    let table = JobTable::read(root, problems);
    let name = name(table.name.as_ref(), root, problems);
    let data = table.data.and_then(|data| Data::open(data.value, problems));
    let lms = table.lm.map(|lms| lms.value).unwrap_or_default();
    let members = account::memberships(&lms);
    let lms = Lms::new(lms, problems);
    let accounts = table.account.map(|accounts| accounts.value).unwrap_or_default();
    let accounts = account::limits(&accounts, &members, &lms, problems);
    let compile = CompileOptions::new(table.compile.map(|compile| compile.value));
    let metric = metric::metric(table.metric.map(|metric| metric.value), problems);
    let mut types = program::Types::default();
    let program = table
        .program
        .and_then(|program| program::draft(&program.value, sources, &mut types, problems));
    let student = program.clone().zip(table.student).map(|(mut draft, student)| {
        if let Some(lm) = &student.value.lm {
            check::assign(&mut draft, lm, &lms, problems);
        }
        if let Some(state) = &student.value.state {
            state::take(&mut draft, state, sources, problems);
        }
        draft
    });
    let teachers = table.teacher.map(|teachers| teachers.value).unwrap_or_default();
    let teachers = drafts_of_teachers(&teachers, program.as_ref(), sources, &lms, &mut types, problems);

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
    let of_states: Vec<String> = drafts.iter().flat_map(|draft| draft.warnings.clone()).collect();
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
    let mut warnings = warnings::of_names(&lms, &student, &teachers, metric.is_none());
    warnings.extend(warnings::of_addresses(&lms));
    warnings.extend(data.warnings());
    warnings.extend(of_states);
    let mut job = Job {
        file: root.place.file.to_owned(),
        digest: sources.digest(),
        spec: JobSpec {
            version: JOB_SPEC_VERSION,
            name: name?,
            seed: table.seed.map_or(0, |seed| seed.value),
            inputs: data.inputs,
            types: types.written,
            lms: lms.settings,
            accounts,
            student,
            teachers,
            metric,
            adapter: compile.adapter,
            multitask: compile.multitask,
            exclude_demos: compile.exclude_demos,
            cut_answers: compile.cut_answers,
        },
        trainset: data.trainset,
        devset: data.devset,
        finetune: lms.finetune,
        key_variables: lms.key_variables,
        max_failure_rate: compile.max_failure_rate,
        patience: compile.patience,
        warnings,
    };
    if problems.is_empty() {
        check::buildable(&job.spec, &places, problems);
        let close = check::enough_rows(&job, &lines, root.place, problems);
        job.warnings.extend(close);
        let more = [
            warnings::of_trainings(&job),
            warnings::of_unencrypted_keys(&job),
            warnings::of_teachers(&job.spec),
        ];
        job.warnings.extend(more.into_iter().flatten());
    }
    Some(job)
}

fn name(given: Option<&Read<'_, &str>>, root: &Section<'_>, problems: &mut Problems) -> Option<String> {
    let Some(name) = given else {
        // A name that is not a string has already been reported.
        let stem = root.place.file.file_stem();
        return Some(stem.map_or("job".to_owned(), |s| s.to_string_lossy().into_owned()));
    };
    if let Some(why) = lm::unfit_for_a_file_name(name.value) {
        name.report(
            problems,
            format!("the job's name {why}"),
            "use letters, digits, `-` and `_`: a directory is named after it",
        );
    }
    Some(name.value.to_owned())
}

fn drafts_of_teachers<'a>(
    tables: &'a [Read<'a, TeacherTable<'a>>],
    program: Option<&Draft<'a>>,
    sources: &'a Sources,
    lms: &Lms,
    types: &mut program::Types,
    problems: &mut Problems,
) -> Vec<Draft<'a>> {
    let mut teachers = Vec::new();
    for Read { value: table, .. } in tables {
        let draft = match &table.program {
            None if table.section.get("program").is_some() => None,
            None => program.cloned(),
            Some(own) => match &own.value {
                EitherValue::Table(table) => program::draft(table, sources, types, problems),
                EitherValue::Plain(file) => program::draft_of_file(file, &own.item, sources, types, problems),
            },
        };
        let Some(mut draft) = draft else { continue };
        if let Some(program) = program {
            check::same_structure(program, &draft, problems);
        }
        if let Some(lm) = &table.lm {
            check::assign(&mut draft, lm, lms, problems);
        }
        if let Some(state) = &table.state {
            state::take(&mut draft, state, sources, problems);
        }
        teachers.push(draft);
    }
    teachers
}

#[cfg(test)]
mod tests;
