//! `[compile]`: how traces become training rows.

use super::keys::CompileTable;
use crate::adapter::AdapterKind;
use crate::spec::CutAnswers;
use std::time::Duration;

/// The checked `[compile]` table, with its defaults.
pub(super) struct CompileOptions {
    pub(super) multitask: bool,
    pub(super) exclude_demos: bool,
    pub(super) adapter: AdapterKind,
    pub(super) max_failure_rate: f64,
    pub(super) patience: Duration,
    pub(super) cut_answers: CutAnswers,
}

/// A run most of whose examples fail costs more than its rows are worth.
const MAX_FAILURE_RATE: f64 = 0.5;

/// An outage that operators mend within a working hour should not end a run.
const PATIENCE: Duration = Duration::from_secs(3600);

impl CompileOptions {
    pub(super) fn new(table: Option<CompileTable<'_>>) -> CompileOptions {
        let mut options = CompileOptions {
            multitask: true,
            exclude_demos: false,
            adapter: AdapterKind::Chat,
            max_failure_rate: MAX_FAILURE_RATE,
            patience: PATIENCE,
            cut_answers: CutAnswers::Keep,
        };
        let Some(table) = table else { return options };
        if let Some(multitask) = table.multitask {
            options.multitask = multitask.value;
        }
        if let Some(exclude_demos) = table.exclude_demos {
            options.exclude_demos = exclude_demos.value;
        }
        if let Some(adapter) = table.adapter {
            options.adapter = adapter.value;
        }
        if let Some(rate) = table.max_failure_rate {
            options.max_failure_rate = rate.value;
        }
        if let Some(patience) = table.patience {
            options.patience = patience.value;
        }
        if let Some(cut_answers) = table.cut_answers {
            options.cut_answers = cut_answers.value;
        }
        options
    }
}
