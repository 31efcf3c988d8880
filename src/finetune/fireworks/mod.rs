//! `provider = "fireworks"`: Fireworks AI, by the protocol of the SDK `fireworks-ai` 1.2.30.
//!
//! The job's id is derived from the idempotency key, so a repeated request is the same job. Its model has the same id. Adapters are
//! served only on dedicated deployments, which their owner must create.

mod create_job;
mod dataset_upload;
mod job_status;
mod resource_names;

use super::http::{CallError, Http, ServiceClient};
use super::{
    FireworksSpec, Provider, ProviderError, StartError, TrainingFile, TrainingId, TrainingRequest,
    TrainingResult, TrainingSpec, TrainingState, Unavailable, train_keys,
};
use crate::key_ring::KeyRing;
use async_trait::async_trait;
use dataset_upload::Dataset;
use job_status::FireworksJobState;
use resource_names::{account, base_model, dataset_ids, full, job_id};
use serde_json::{Value as Json, json};

/// The service's own address.
const OWN: &str = "https://api.fireworks.ai/v1";

/// The variable with its API key.
const KEY: &str = "FIREWORKS_API_KEY";

const SERVED: &str = "Fireworks serves a fine-tuned model only on a dedicated deployment: create one for it (`firectl deployment \
                      create`) before the compiled program is run";

/// One account at Fireworks.
#[derive(Debug)]
pub(super) struct FireworksProvider {
    client: ServiceClient,
    spec: FireworksSpec,
}

impl FireworksProvider {
    /// Opens no connection. [`Unavailable`] when the API key is not set on this worker.
    pub(super) fn new(spec: &FireworksSpec, keys: &KeyRing) -> Result<FireworksProvider, Unavailable> {
        Ok(FireworksProvider {
            client: ServiceClient::new(&spec.service, OWN, KEY, keys)?,
            spec: spec.clone(),
        })
    }

    fn jobs<'p>(&'p self, id: &'p str) -> [&'p str; 4] {
        ["accounts", account(&self.spec), "supervisedFineTuningJobs", id]
    }

    async fn job(&self, id: &str) -> Result<Option<Json>, ProviderError> {
        match self.client.http()?.get(&self.jobs(id), &[]).await {
            Ok(job) => Ok(Some(job)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Uploads a file and returns the dataset's full name.
    async fn upload(
        &self,
        order: &TrainingRequest<'_>,
        file: &TrainingFile,
        id: &str,
    ) -> Result<String, ProviderError> {
        let (http, spec) = (self.client.http()?, &self.spec);
        Dataset { http, spec, id }.ensure(order, file).await?;
        Ok(full(spec, "datasets", id))
    }

    async fn request(&self, order: &TrainingRequest<'_>) -> Result<Json, ProviderError> {
        train_keys::check(
            &order.shard.recipe.train,
            &train_keys::fireworks_keys(),
            "fireworks",
        )?;
        let [train, validation] = dataset_ids(order);
        let dataset = self.upload(order, &order.shard.data, &train).await?;
        let validation = match &order.shard.validation {
            None => None,
            Some(file) => Some(self.upload(order, file, &validation).await?),
        };
        Ok(create_job::body(order, &self.spec, dataset, validation))
    }

    fn succeeded(&self, http: &Http, id: &TrainingId, job: &Json) -> TrainingState {
        let name = job["outputModel"].as_str().filter(|name| !name.is_empty());
        let name = name.unwrap_or(&id.0);
        let name = if name.starts_with("accounts/") {
            name.to_owned()
        } else {
            full(&self.spec, "models", name)
        };
        TrainingState::Succeeded(TrainingResult {
            model: Some(format!("openai/{name}")),
            api_base: Some(inference(http)),
            ..TrainingResult::default()
        })
    }

    async fn model(&self, name: &str) -> Result<Json, ProviderError> {
        let path: Vec<&str> = name.split('/').collect();
        self.client
            .http()?
            .get(&path, &[])
            .await
            .map_err(|error| match error.status() {
                Some(401 | 403) => ProviderError::Refused(format!("{error}; is the key right?")),
                Some(400 | 404) => {
                    ProviderError::Refused(format!("Fireworks has no model `{name}`: {error}"))
                }
                _ => error.into(),
            })
    }
}

/// The inference address, beside the training API.
fn inference(http: &Http) -> String {
    let base = http.redacted_url();
    let base = base.trim_end_matches('/');
    format!("{}/inference/v1", base.strip_suffix("/v1").unwrap_or(base))
}

#[async_trait]
impl Provider for FireworksProvider {
    fn deterministic_id(&self, order: &TrainingRequest<'_>) -> Option<TrainingId> {
        Some(TrainingId(job_id(order, &self.spec)))
    }

    async fn preflight(&self, recipe: &TrainingSpec) -> Result<Vec<String>, ProviderError> {
        train_keys::check(&recipe.train, &train_keys::fireworks_keys(), "fireworks")?;
        let name = base_model(recipe);
        let model = self.model(&name).await?;
        let goes_on = self.spec.service.extra.contains_key("warmStartFrom");
        if model["kind"] == "HF_PEFT_ADDON" && !goes_on {
            let why = format!(
                "`{name}` is an adapter: to train on from it, write extra = {{ warmStartFrom = \"{name}\" }}"
            );
            return Err(ProviderError::Refused(why));
        }
        if model["tunable"] == false {
            return Err(ProviderError::Refused(format!(
                "Fireworks does not fine-tune `{name}`: choose another model"
            )));
        }
        // The rows are uploaded to the account, so it must belong to the key.
        self.client
            .http()?
            .get(&self.jobs("")[..3], &[("pageSize", "1")])
            .await
            .map_err(|error| match error.status() {
                Some(401 | 403 | 404) => {
                    let account = account(&self.spec);
                    ProviderError::Refused(format!("{error}; is \"{account}\" the account of the key?"))
                }
                _ => error.into(),
            })?;
        Ok(vec![SERVED.to_owned()])
    }

    /// Also returns a failed job, because its id is taken and cannot be used again.
    async fn find(&self, order: &TrainingRequest<'_>) -> Result<Option<TrainingId>, ProviderError> {
        let id = job_id(order, &self.spec);
        let job = self.job(&id).await?;
        Ok(job.map(|_| TrainingId(id)))
    }

    async fn start(&self, order: &TrainingRequest<'_>) -> Result<TrainingId, StartError> {
        let body = self.request(order).await?;
        let id = job_id(order, &self.spec);
        let query = [("supervisedFineTuningJobId", id.as_str())];
        match self
            .client
            .http()?
            .post_to(&self.jobs("")[..3], &query, Some(&body))
            .await
        {
            Ok(_) => Ok(TrainingId(id)),
            Err(CallError::Unclear(why)) => Err(StartError::Unclear(why)),
            // Another worker or an earlier request has created the job.
            Err(error) if error.status() == Some(409) => match self.job(&id).await? {
                Some(_) => Ok(TrainingId(id)),
                None => Err(ProviderError::Passing(error.to_string()).into()),
            },
            Err(error) => Err(ProviderError::from(error).into()),
        }
    }

    async fn poll(&self, id: &TrainingId, _: &TrainingRequest<'_>) -> Result<TrainingState, ProviderError> {
        let http = self.client.http()?;
        let job = match self.job(&id.0).await {
            Ok(Some(job)) => job,
            Ok(None) => return Ok(TrainingState::Absent),
            // The training continues and is billed, so a revoked key or an outage is only a transient error.
            Err(error) => return Err(ProviderError::Passing(error.to_string())),
        };
        Ok(match FireworksJobState::from_job(&job) {
            FireworksJobState::Completed => self.succeeded(http, id, &job),
            FireworksJobState::Failed => TrainingState::Failed(http.redact(&job_status::failure(&job))),
            FireworksJobState::Cancelled => TrainingState::Cancelled,
            FireworksJobState::Goes => TrainingState::Running(job_status::progress(&job)),
            FireworksJobState::Unknown => {
                tracing::warn!(state = %job["state"], job = id.0, "unknown state of a job at Fireworks");
                TrainingState::Running(job_status::progress(&job))
            }
        })
    }

    async fn cancel(&self, id: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        let cancel = format!("{}:cancel", id.0);
        let Err(error) = self
            .client
            .http()?
            .post(&self.jobs(&cancel), Some(&json!({})))
            .await
        else {
            return Ok(());
        };
        // A job that has ended cannot be cancelled.
        match self.job(&id.0).await? {
            None => Ok(()),
            Some(job) if job["state"] == "JOB_STATE_CANCELLING" => Ok(()),
            Some(job) => match FireworksJobState::from_job(&job) {
                FireworksJobState::Completed | FireworksJobState::Failed | FireworksJobState::Cancelled => {
                    Ok(())
                }
                FireworksJobState::Goes | FireworksJobState::Unknown => Err(error.into()),
            },
        }
    }

    async fn cleanup(&self, _: &TrainingId, order: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        let (http, spec) = (self.client.http()?, &self.spec);
        for id in dataset_ids(order) {
            Dataset { http, spec, id: &id }.delete().await?;
        }
        Ok(())
    }
}
