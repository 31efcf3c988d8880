//! A fine-tuning service in memory: what it has been asked for outlives the processes that asked.

use async_trait::async_trait;
use bsft::finetune::{
    Provider, ProviderError, StartError, TrainingId, TrainingProgress, TrainingRequest, TrainingResult,
    TrainingSpec, TrainingState,
};
use bsft::task::TaskId;
use std::sync::Mutex;

/// Looks at a training before it has ended.
const LOOKS: usize = 2;

/// The service.
#[derive(Default)]
pub(crate) struct Service {
    trainings: Mutex<Vec<PaidTraining>>,
}

struct PaidTraining {
    key: String,
    looks: usize,
    cancelled: bool,
}

impl Service {
    /// How many trainings were ever started: each is paid for.
    pub(crate) fn trainings(&self) -> usize {
        self.trainings.lock().unwrap().len()
    }

    /// Whether the task is one that a training was started for.
    pub(crate) fn is_training(&self, task: TaskId) -> bool {
        let key = task.to_string();
        let trainings = self.trainings.lock().unwrap();
        trainings.iter().any(|asked| asked.key == key)
    }

    /// Starts another, whatever was started before.
    pub(crate) fn start_now(&self, order: &TrainingRequest<'_>) -> TrainingId {
        let mut trainings = self.trainings.lock().unwrap();
        trainings.push(PaidTraining {
            key: order.key.to_owned(),
            looks: 0,
            cancelled: false,
        });
        TrainingId(format!("training-{}", trainings.len() - 1))
    }

    fn number(id: &TrainingId) -> usize {
        id.0.strip_prefix("training-").unwrap().parse().unwrap()
    }
}

#[async_trait]
impl Provider for Service {
    async fn preflight(&self, _: &TrainingSpec) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }

    async fn find(&self, order: &TrainingRequest<'_>) -> Result<Option<TrainingId>, ProviderError> {
        let trainings = self.trainings.lock().unwrap();
        let found = trainings.iter().position(|asked| asked.key == order.key);
        Ok(found.map(|number| TrainingId(format!("training-{number}"))))
    }

    async fn start(&self, order: &TrainingRequest<'_>) -> Result<TrainingId, StartError> {
        Ok(self.start_now(order))
    }

    async fn poll(
        &self,
        id: &TrainingId,
        order: &TrainingRequest<'_>,
    ) -> Result<TrainingState, ProviderError> {
        let mut trainings = self.trainings.lock().unwrap();
        let asked = &mut trainings[Service::number(id)];
        assert_eq!(asked.key, order.key, "a training is of its order");
        asked.looks += 1;
        Ok(match (asked.cancelled, asked.looks > LOOKS) {
            (true, _) => TrainingState::Cancelled,
            (false, false) => TrainingState::Running(TrainingProgress {
                step: Some(asked.looks as u64),
                ..TrainingProgress::default()
            }),
            (false, true) => TrainingState::Succeeded(TrainingResult {
                model: Some(format!("simulated/ft:{}", order.shard.data.sha256)),
                ..TrainingResult::default()
            }),
        })
    }

    async fn cancel(&self, id: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        self.trainings.lock().unwrap()[Service::number(id)].cancelled = true;
        Ok(())
    }

    async fn cleanup(&self, _: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        Ok(())
    }
}
