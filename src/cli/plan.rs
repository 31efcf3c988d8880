//! `plan JOB`: what a job would run and cost.

use super::check::warn;
use super::exit::Exit;
use super::ui;
use crate::job::{self, plan::Plan};
use std::path::Path;

/// `plan JOB`.
pub(super) fn plan(path: &Path, json: bool) -> Exit {
    let job = match job::read(path) {
        Ok(job) => job,
        Err(problems) => {
            ui::problem(problems);
            return Exit::Usage;
        }
    };
    warn(&job);
    let plan = Plan::new(&job);
    if json {
        ui::stdout(serde_json::to_string_pretty(&plan).expect("a plan is plain data"));
    } else {
        ui::stdout(plan);
    }
    Exit::Done
}
