//! `provider = "openai"`: any server with OpenAI's files and fine-tuning jobs.
//!
//! That protocol has no idempotency key, so a training is found again by what it was given: the order's key in the job's metadata and in the
//! names of the uploaded files.

mod create_job;
mod jobs;
mod new_model_name;
mod preflight;
mod progress;
mod uploads;
mod wire_types;

use super::http::{CallError, Http, ServiceClient};
use super::{
    Provider, ProviderError, ServiceSpec, StartError, TrainingId, TrainingRequest, TrainingResult,
    TrainingSpec, TrainingState, Unavailable,
};
use crate::key_ring::KeyRing;
use async_trait::async_trait;
use wire_types::{OpenAiJob, OpenAiJobStatus};

/// The service's own address.
pub(super) const OWN: &str = "https://api.openai.com/v1";

/// The service, as one recipe wants it reached.
pub(super) struct OpenAiProvider {
    spec: ServiceSpec,
    client: ServiceClient,
}

impl OpenAiProvider {
    /// Opens no connection. [`Unavailable`]: the key is not on this machine.
    pub(super) fn new(spec: &ServiceSpec, keys: &KeyRing) -> Result<OpenAiProvider, Unavailable> {
        Ok(OpenAiProvider {
            spec: spec.clone(),
            client: ServiceClient::new(spec, OWN, crate::lm::OPENAI_KEY, keys)?,
        })
    }

    fn is_azure(&self) -> bool {
        self.client.http().is_ok_and(new_model_name::is_azure)
    }

    /// The training's state, from the job as the server returned it.
    async fn training(&self, http: &Http, job: OpenAiJob) -> TrainingState {
        match job.status {
            OpenAiJobStatus::Succeeded => match job.model {
                Some(model) => TrainingState::Succeeded(TrainingResult {
                    model: Some(new_model_name::model(&model)),
                    api_base: self.spec.api_base.clone(),
                    tokens: job.tokens,
                    loss: progress::fetch(http, &job.id, &job.word).await.loss,
                }),
                None => TrainingState::Failed(format!(
                    "the server reports that the training {} has succeeded, without a model name; look for its checkpoints there",
                    job.id
                )),
            },
            OpenAiJobStatus::Failed => TrainingState::Failed(match job.error {
                Some(why) => http.redact(&why),
                None => format!(
                    "the server reports that the training {} has failed, without a reason",
                    job.id
                ),
            }),
            OpenAiJobStatus::Cancelled => TrainingState::Cancelled,
            OpenAiJobStatus::GoesOn { known } => {
                if !known {
                    progress::warn_unknown_status(&job.id, &job.word);
                }
                TrainingState::Running(progress::fetch(http, &job.id, &job.word).await)
            }
        }
    }
}

#[async_trait]
impl Provider for OpenAiProvider {
    async fn preflight(&self, recipe: &TrainingSpec) -> Result<Vec<String>, ProviderError> {
        preflight::check(&self.spec, self.client.as_result(), recipe).await
    }

    async fn find(&self, order: &TrainingRequest<'_>) -> Result<Option<TrainingId>, ProviderError> {
        jobs::find(self.client.http()?, order.key).await
    }

    async fn start(&self, order: &TrainingRequest<'_>) -> Result<TrainingId, StartError> {
        let http = self.client.http()?;
        let shard = order.shard;
        let rows = uploads::OpenAiRows::Training
            .there(http, order, &shard.data, self.is_azure())
            .await?;
        let validation = match &shard.validation {
            None => None,
            Some(kept) => {
                let kept_back = uploads::OpenAiRows::Validation;
                Some(kept_back.there(http, order, kept, self.is_azure()).await?)
            }
        };
        let azure = self.is_azure();
        let mut body = create_job::body(order, &self.spec, azure, &rows, validation.as_deref())
            .map_err(ProviderError::Refused)?;
        let mut answer = http.post(jobs::JOBS, Some(&body)).await;
        if answer.as_ref().is_err_and(create_job::refuses_metadata)
            && create_job::forget_metadata(&mut body, &self.spec)
        {
            answer = http.post(jobs::JOBS, Some(&body)).await;
        }
        match answer {
            Ok(answer) => match OpenAiJob::read(&answer) {
                Some(job) => Ok(TrainingId(job.id)),
                None => Err(StartError::Unclear(format!(
                    "{}: the answer holds no id: {}",
                    http.redacted_url(),
                    http.redact(&answer.to_string())
                ))),
            },
            Err(CallError::Unclear(why)) => jobs::unclear(http, why).await,
            Err(error) => Err(StartError::NotStarted(error.into())),
        }
    }

    async fn poll(&self, id: &TrainingId, _: &TrainingRequest<'_>) -> Result<TrainingState, ProviderError> {
        let http = self.client.http()?;
        match jobs::get(http, &id.0).await {
            Ok(job) => Ok(self.training(http, job).await),
            Err(error) if matches!(error.status(), Some(404 | 410)) => Ok(TrainingState::Absent),
            // The training continues and is billed, whatever prevents the poll: a revoked key, a gateway, an outage.
            Err(error) => Err(ProviderError::Passing(error.to_string())),
        }
    }

    async fn cancel(&self, id: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        jobs::cancel(self.client.http()?, &id.0).await
    }

    async fn cleanup(&self, id: &TrainingId, order: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        let http = self.client.http()?;
        let job = jobs::get(http, &id.0).await;
        let job_files = job.map(|job| job.files).unwrap_or_default();
        uploads::cleanup(http, order.key, job_files).await
    }
}
