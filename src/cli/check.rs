//! `check JOB`: finds every problem that can be found without LM calls.

use super::exit::Exit;
use super::ui::{self, counted};
use crate::job::plan::limits_text;
use crate::job::{self, Job};
use crate::key_ring::KeyRing;
use crate::lm::{ConnectError, LmSettings, Secret, connect};
use crate::metrics::Metrics;
use crate::program::unread_demo_keys;
use crate::schema::Problems;
use crate::tls;
use std::collections::HashSet;
use std::path::Path;

/// Prints the warnings of a job file, keys that are allowed but probably not meant, and those of the environment.
pub(super) fn warn(job: &Job) {
    warn_of_trust();
    for warning in job.warnings.iter().chain(&unread_demo_keys(
        job.spec.teachers.iter().chain([&job.spec.student]),
        &job.spec.types,
    )) {
        ui::warn(warning);
    }
}

/// Warns of trusted authorities that cannot be read.
pub(super) fn warn_of_trust() {
    for problem in tls::trust_problems() {
        ui::warn(format_args!(
            "{problem}; certificates of servers may not be trusted"
        ));
    }
}

/// The endpoints of the LMs that the teachers call.
fn asked_endpoints(job: &Job) -> Vec<LmSettings> {
    let teachers = job.spec.teachers.iter().flat_map(|teacher| &teacher.predictors);
    let asked: HashSet<&str> = teachers.map(|predictor| predictor.lm.as_str()).collect();
    let lms = job.spec.lms.values();
    lms.filter(|lm| asked.contains(lm.name.as_str()))
        .flat_map(LmSettings::endpoints)
        .collect()
}

/// The number of servers that the teachers call.
pub(super) fn asked_servers(job: &Job) -> usize {
    let endpoints = asked_endpoints(job);
    // A simulated LM has no address.
    let servers = endpoints.iter().filter(|lm| !lm.shown_address().is_empty());
    servers.count()
}

/// Teacher LMs that this process cannot connect to, for example because the variable of a key is unset.
pub(super) fn unreachable_lms(job: &Job, keys: &KeyRing) -> Vec<ConnectError> {
    // No LM call is made, so these metrics stay empty.
    let metrics = Metrics::new();
    asked_endpoints(job)
        .iter()
        .filter_map(|lm| connect(lm, job.spec.seed, keys, &metrics).err())
        .collect()
}

/// The variables of keys that the job file names and that hold no key here.
fn unset_variables(job: &Job) -> Problems {
    let mut problems = Problems::default();
    for variable in &job.key_variables {
        let (name, key) = (&variable.name, &variable.key);
        let (problem, remedy) = match Secret::read(name) {
            Ok(Some(_)) => continue,
            Ok(None) => (
                format!("the environment variable {name}, which `{key}` names, is not set"),
                "set it to the API key; leave `api_key_env` out if the server needs no key",
            ),
            Err(error) => (
                format!("`{key}` gives no key: {error}"),
                "the file must hold the API key and nothing else",
            ),
        };
        problems.add(&job.file, Some(variable.line), problem, remedy);
    }
    problems
}

/// Whether the error is about a variable that the job file names: [`unset_variables`] reports it with its line.
fn names_variable_of(error: &ConnectError, job: &Job) -> bool {
    let variable = match error {
        ConnectError::MissingKey { variable, .. } => variable,
        ConnectError::Key { error, .. } => error.variable(),
        _ => return false,
    };
    job.key_variables.iter().any(|named| named.name == variable)
}

/// `check JOB`.
pub(super) fn check(path: &Path) -> Exit {
    match job::read(path) {
        Ok(job) => {
            warn(&job);
            // In a cluster the workers have the keys, and this machine needs none.
            for problem in unset_variables(&job).0 {
                ui::warn(format_args!("to compile it here: {problem}"));
            }
            for error in unreachable_lms(&job, &KeyRing::of_the_author())
                .iter()
                .filter(|error| !names_variable_of(error, &job))
            {
                ui::warn(format_args!("to compile it here: {error}"));
            }
            ui::stdout(format_args!(
                "{}: no problems; {}, {}",
                path.display(),
                counted(job.trainset.len(), "example"),
                counted(job.spec.teachers.len(), "teacher")
            ));
            for (name, limits) in &job.spec.accounts {
                ui::stdout(format_args!("account {name}: {}", limits_text(limits)));
            }
            Exit::Done
        }
        Err(problems) => {
            ui::problem(problems);
            Exit::Usage
        }
    }
}
