//! Derives events from the manifest: the phases, and the start and end of trainings.

use super::event::{Event, EventTraining};
use crate::finetune::{TrainingId, TrainingState};
use crate::report::{Manifest, Phase, TrainingReport};
use std::collections::HashMap;

/// The state in the last manifest.
#[derive(Debug, Default)]
pub(super) struct ManifestChanges {
    /// `None` before the first manifest. Its trainings are those of earlier processes.
    phase: Option<Phase>,
    trainings: HashMap<String, SeenTraining>,
}

#[derive(Clone, Debug, PartialEq)]
struct SeenTraining {
    id: Option<TrainingId>,
    has_ended: bool,
}

impl ManifestChanges {
    /// Returns the events since the last manifest.
    pub(super) fn update(&mut self, manifest: &Manifest) -> Vec<Event> {
        let is_first = self.phase.is_none();
        let mut events = Vec::new();
        if self.phase != Some(manifest.phase) {
            self.phase = Some(manifest.phase);
            events.push(Event::Phase {
                phase: manifest.phase.name(),
            });
        }
        for (name, report) in &manifest.trainings {
            let now = SeenTraining {
                id: report.id.clone(),
                has_ended: report.ending.is_some(),
            };
            let before = self.trainings.insert(name.clone(), now.clone());
            if is_first {
                continue;
            }
            let known_id = before.as_ref().and_then(|before| before.id.as_ref());
            if now.id.is_some() && known_id != now.id.as_ref() {
                events.push(Event::TrainingStarted(training(report)));
            }
            if let Some(ending) = &report.ending
                && before.is_none_or(|before| !before.has_ended)
            {
                events.push(ended(report, ending));
            }
        }
        events
    }
}

fn training(report: &TrainingReport) -> EventTraining {
    EventTraining {
        lm: report.lm.clone(),
        predictor: report.predictor.clone(),
        provider: report.provider.clone(),
        training: report.id.as_ref().map(|id| id.0.clone()),
    }
}

fn ended(report: &TrainingReport, ending: &TrainingState) -> Event {
    let (ending, detail) = match ending {
        TrainingState::Succeeded(result) => ("succeeded", result.model.clone()),
        TrainingState::Cancelled => ("cancelled", None),
        TrainingState::Failed(reason) => ("failed", Some(reason.clone())),
        // Workers store neither of these as an ending.
        TrainingState::Running(_) | TrainingState::Absent => ("failed", None),
    };
    Event::TrainingEnded {
        training: training(report),
        ending,
        detail,
    }
}
