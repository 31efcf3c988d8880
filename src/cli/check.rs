//! `check`: everything that can be known before anything is spent.

use super::exit::{Exit, answer, say};
use crate::job::{self, Job};
use crate::program::unread_demo_keys;
use std::path::Path;

/// Tells what is allowed but hardly meant.
pub(super) fn warn(job: &Job) {
    for warning in job.warnings.iter().chain(&unread_demo_keys(&job.spec)) {
        say(format_args!("warning: {warning}"));
    }
}

/// `check JOB`.
pub(super) fn check(path: &Path) -> Exit {
    match job::read(path) {
        Ok(job) => {
            warn(&job);
            answer(format_args!(
                "{}: no problems; {} examples, {} teachers",
                path.display(),
                job.trainset.len(),
                job.spec.teachers.len()
            ));
            Exit::Done
        }
        Err(problems) => {
            say(problems);
            Exit::Usage
        }
    }
}
