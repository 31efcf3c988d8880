//! `provider = "together"`: Together AI, by the protocol of the SDK `together` 3.1.1. It resembles OpenAI's and differs from it.
//!
//! A job has no metadata except the suffix of its model's name, so the suffix contains the idempotency key and a job is found by it.
//! Together serves a fine-tuned model only on a dedicated endpoint, which its owner must create.

mod create_job;
mod job_status;
mod model_limits;
mod price_estimate;
mod uploads;

use super::http::{CallError, Http, ServiceClient};
use super::slug::slug;
use super::{
    Provider, ProviderError, ServiceSpec, StartError, TrainingId, TrainingRequest, TrainingResult,
    TrainingSpec, TrainingState, Unavailable, train_keys,
};
use crate::key_ring::KeyRing;
use async_trait::async_trait;
use create_job::Files;
use job_status::TogetherJobStatus;
use model_limits::base_model;
use serde_json::Value as Json;

/// The service's own address.
const OWN: &str = "https://api.together.ai/v1";

/// The variable with its API key.
const KEY: &str = "TOGETHER_API_KEY";

/// The longest suffix that the SDK's documentation allows.
const LONGEST_SUFFIX: usize = 40;

/// How many hexadecimal characters of the key the suffix contains: 64 bits are unique within an account.
const KEY_CHARS: usize = 16;

const SERVED: &str = "Together serves a fine-tuned model only on a dedicated endpoint: create one for it (`tg endpoints deploy`) \
                      before the compiled program is run";

/// One account at Together.
#[derive(Debug)]
pub(super) struct TogetherProvider {
    client: ServiceClient,
    spec: ServiceSpec,
}

impl TogetherProvider {
    /// Opens no connection. [`Unavailable`] when the API key is not set on this worker.
    pub(super) fn new(spec: &ServiceSpec, keys: &KeyRing) -> Result<TogetherProvider, Unavailable> {
        Ok(TogetherProvider {
            client: ServiceClient::new(spec, OWN, KEY, keys)?,
            spec: spec.clone(),
        })
    }

    /// The part of the suffix that is derived from the key.
    fn mark(order: &TrainingRequest<'_>) -> String {
        slug(order.key, KEY_CHARS)
    }

    fn suffix(&self, order: &TrainingRequest<'_>) -> String {
        let recipe = &order.shard.recipe;
        let mark = TogetherProvider::mark(order);
        let name = match &self.spec.suffix {
            Some(suffix) => slug(suffix, LONGEST_SUFFIX - KEY_CHARS - 1),
            None => slug(
                &format!("{}-{}", recipe.job, recipe.lm),
                LONGEST_SUFFIX - KEY_CHARS - 1,
            ),
        };
        if name.is_empty() {
            mark
        } else {
            format!("{name}-{mark}")
        }
    }

    async fn job(&self, id: &TrainingId) -> Result<Option<Json>, ProviderError> {
        match self.client.http()?.get(&["fine-tunes", &id.0], &[]).await {
            Ok(job) => Ok(Some(job)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn jobs(&self) -> Result<Vec<Json>, ProviderError> {
        let answer = self.client.http()?.get(&["fine-tunes"], &[]).await?;
        Ok(answer["data"].as_array().cloned().unwrap_or_default())
    }

    /// The events of a job. Empty if they cannot be read.
    async fn events(http: &Http, id: &TrainingId) -> Vec<Json> {
        let answer = http.get(&["fine-tunes", &id.0, "events"], &[]).await;
        let answer = answer.unwrap_or_else(|why| {
            tracing::debug!(%why, job = id.0, "no events");
            Json::Null
        });
        answer["data"].as_array().cloned().unwrap_or_default()
    }

    async fn limits(http: &Http, recipe: &TrainingSpec) -> Result<Json, CallError> {
        let path = ["fine-tunes", "models", "limits"];
        http.get(&path, &[("model_name", base_model(recipe))]).await
    }

    async fn upload(http: &Http, order: &TrainingRequest<'_>) -> Result<Files, ProviderError> {
        let [train, validation] = file_names(order);
        let training = uploads::ensure(http, order, &order.shard.data, &train).await?;
        let validation = match &order.shard.validation {
            None => None,
            Some(file) => Some(uploads::ensure(http, order, file, &validation).await?),
        };
        Ok(Files { training, validation })
    }

    async fn request(&self, order: &TrainingRequest<'_>) -> Result<Json, ProviderError> {
        let recipe = &order.shard.recipe;
        train_keys::check(&recipe.train, &train_keys::TOGETHER_KEYS, "together")?;
        create_job::check_extra(&self.spec.extra)?;
        let http = self.client.http()?;
        let files = TogetherProvider::upload(http, order).await?;
        let needs_rank = create_job::wants_lora(recipe) == Some(true) && !recipe.train.contains_key("lora_r");
        let rank = if needs_rank {
            TogetherProvider::limits(http, recipe).await?["lora_training"]["default_rank"].as_u64()
        } else {
            None
        };
        price_estimate::log(http, recipe, &files, rank).await;
        let mut body = create_job::body(order, base_model(recipe), &self.suffix(order), &files, rank);
        for (key, value) in &self.spec.extra {
            body[key] = value.clone();
        }
        Ok(body)
    }

    async fn succeeded(http: &Http, id: &TrainingId, job: &Json) -> TrainingState {
        let Some(name) = job["model_output_name"].as_str().filter(|name| !name.is_empty()) else {
            return TrainingState::Failed(format!("job {} is completed, but Together names no model", id.0));
        };
        let metrics = http.get(&["fine-tunes", &id.0, "metrics"], &[]).await;
        TrainingState::Succeeded(TrainingResult {
            model: Some(format!("openai/{name}")),
            api_base: Some(http.redacted_url().trim_end_matches('/').to_owned()),
            tokens: job["token_count"].as_u64(),
            loss: metrics.ok().as_ref().and_then(job_status::last_loss),
        })
    }
}

/// The names of the uploaded files.
fn file_names(order: &TrainingRequest<'_>) -> [String; 2] {
    ["", "-validation"].map(|which| format!("bsft-{}{which}.jsonl", order.key))
}

#[async_trait]
impl Provider for TogetherProvider {
    async fn preflight(&self, recipe: &TrainingSpec) -> Result<Vec<String>, ProviderError> {
        train_keys::check(&recipe.train, &train_keys::TOGETHER_KEYS, "together")?;
        create_job::check_extra(&self.spec.extra)?;
        let model = base_model(recipe);
        let limits = match TogetherProvider::limits(self.client.http()?, recipe).await {
            Ok(limits) => limits,
            Err(error) => {
                return Err(match error.status() {
                    Some(401 | 403) => ProviderError::Refused(format!("{error}; is the key right?")),
                    Some(400 | 404) => {
                        ProviderError::Refused(format!("Together does not fine-tune `{model}`: {error}"))
                    }
                    _ => error.into(),
                });
            }
        };
        model_limits::check(recipe, &limits)?;
        Ok(vec![SERVED.to_owned()])
    }

    async fn find(&self, order: &TrainingRequest<'_>) -> Result<Option<TrainingId>, ProviderError> {
        let mark = TogetherProvider::mark(order);
        let is_ours = |job: &Json| {
            let has = |key: &str| job[key].as_str().is_some_and(|name| name.contains(&mark));
            (has("suffix") || has("model_output_name"))
                && TogetherJobStatus::from_job(job) != TogetherJobStatus::Failed
        };
        let jobs = self.jobs().await?;
        let mut ours = jobs
            .iter()
            .filter(|job| is_ours(job))
            .filter_map(|job| job["id"].as_str());
        let found = ours.next().map(|id| TrainingId(id.to_owned()));
        if let Some(another) = ours.next() {
            tracing::warn!(?found, another, "two jobs have the same key; using the first");
        }
        Ok(found)
    }

    async fn start(&self, order: &TrainingRequest<'_>) -> Result<TrainingId, StartError> {
        let body = self.request(order).await?;
        let job = match self.client.http()?.post(&["fine-tunes"], Some(&body)).await {
            Ok(job) => job,
            Err(CallError::Unclear(why)) => return Err(StartError::Unclear(why)),
            Err(error) => return Err(ProviderError::from(error).into()),
        };
        match job["id"].as_str() {
            Some(id) => Ok(TrainingId(id.to_owned())),
            None => Err(StartError::Unclear("the answer names no job".to_owned())),
        }
    }

    async fn poll(&self, id: &TrainingId, _: &TrainingRequest<'_>) -> Result<TrainingState, ProviderError> {
        let http = self.client.http()?;
        let job = match self.job(id).await {
            Ok(Some(job)) => job,
            Ok(None) => return Ok(TrainingState::Absent),
            // The training continues and is billed, so a revoked key or an outage is only a transient error.
            Err(error) => return Err(ProviderError::Passing(error.to_string())),
        };
        Ok(match TogetherJobStatus::from_job(&job) {
            TogetherJobStatus::Completed => TogetherProvider::succeeded(http, id, &job).await,
            TogetherJobStatus::Cancelled => TrainingState::Cancelled,
            TogetherJobStatus::Failed => {
                let why = job_status::latest(&TogetherProvider::events(http, id).await);
                let why = why.unwrap_or_else(|| {
                    format!("the job ended as {}, and Together gives no reason", job["status"])
                });
                TrainingState::Failed(http.redact(&why))
            }
            status @ (TogetherJobStatus::Goes | TogetherJobStatus::Unknown) => {
                if status == TogetherJobStatus::Unknown {
                    tracing::warn!(status = %job["status"], job = id.0, "unknown status of a job at Together");
                }
                TrainingState::Running(job_status::progress(
                    &job,
                    &TogetherProvider::events(http, id).await,
                ))
            }
        })
    }

    async fn cancel(&self, id: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        let Err(error) = self
            .client
            .http()?
            .post(&["fine-tunes", &id.0, "cancel"], None)
            .await
        else {
            return Ok(());
        };
        // A job that has ended cannot be cancelled.
        match self.job(id).await? {
            None => Ok(()),
            Some(job)
                if job["status"] == "cancel_requested" || !TogetherJobStatus::from_job(&job).goes_on() =>
            {
                Ok(())
            }
            Some(_) => Err(error.into()),
        }
    }

    async fn cleanup(&self, id: &TrainingId, order: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        let http = self.client.http()?;
        let names = file_names(order);
        let ours = uploads::named(http, &names.each_ref().map(String::as_str)).await?;
        if ours.is_empty() {
            return Ok(());
        }
        let jobs = self.jobs().await?;
        for file in ours.iter().filter_map(|file| file["id"].as_str()) {
            // Together stores equal rows once, so another job may use the same file.
            let is_used = |job: &Json| {
                let uses = |key: &str| job[key] == file;
                job["id"] != id.0.as_str()
                    && TogetherJobStatus::from_job(job).goes_on()
                    && (uses("training_file") || uses("validation_file"))
            };
            if !jobs.iter().any(is_used) {
                uploads::delete(http, file).await?;
            }
        }
        Ok(())
    }
}
