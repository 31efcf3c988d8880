//! `plan`: what a job would run and cost.

use super::exit::Exit;
use super::say;
use crate::job::{self, plan::Plan};
use std::path::Path;

/// `plan JOB`.
pub(super) fn plan(path: &Path, json: bool) -> Exit {
    let job = match job::read(path) {
        Ok(job) => job,
        Err(problems) => {
            say::problem(problems);
            return Exit::Usage;
        }
    };
    let plan = Plan::of(&job);
    if json {
        say::answer(serde_json::to_string_pretty(&plan).expect("a plan is plain data"));
    } else {
        say::answer(plan);
    }
    Exit::Done
}
