//! Fine-tuning jobs: found again by key, polled, stopped.

use super::super::http::{CallError, Http};
use super::super::{ProviderError, StartError, TrainingId};
use super::uploads;
use super::wire_types::{OpenAiJob, OpenAiJobStatus, Page};

/// Where the jobs are.
pub(super) const JOBS: &[&str] = &["fine_tuning", "jobs"];

/// Jobs on a page: the protocol's servers give 20 unasked.
const PAGE: &str = "100";

/// Pages that are read of one list: a server that gives everything gives the latest first, and ours is among them.
const MOST_PAGES: usize = 50;

/// The job of that key, unless it has failed or was stopped.
///
/// A server may ignore the filter, so every job's metadata is checked again here; it may refuse the filter, or keep no metadata at all.
/// Every server names the file that a job trains on, and the file's name is the key.
pub(super) async fn find(http: &Http, key: &str) -> Result<Option<TrainingId>, ProviderError> {
    let has_key = |job: &OpenAiJob| job.key.as_deref() == Some(key);
    let filters = match listed(http, &[("metadata[job_key]", key)], has_key).await {
        Ok(Some(found)) => return Ok(Some(found)),
        Ok(None) => true,
        Err(error) if matches!(error.status(), Some(400 | 422)) => false,
        Err(error) if error.is_not_implemented() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let ours = uploads::of_key(http, key).await?;
    if filters && ours.is_empty() {
        return Ok(None);
    }
    let trains_on_ours = |job: &OpenAiJob| {
        has_key(job) || (job.key.is_none() && job.files.iter().any(|file| ours.contains(file)))
    };
    Ok(listed(http, &[], trains_on_ours).await?)
}

/// The best of the jobs that match.
async fn listed(
    http: &Http,
    filter: &[(&str, &str)],
    matches: impl Fn(&OpenAiJob) -> bool,
) -> Result<Option<TrainingId>, CallError> {
    let mut best: Option<OpenAiJob> = None;
    let mut after: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let mut query = vec![("limit", PAGE)];
        query.extend(filter);
        if let Some(after) = &after {
            query.push(("after", after));
        }
        let page = Page::read(http.get(JOBS, &query).await?);
        for job in page.items.iter().filter_map(OpenAiJob::read) {
            let is_better = match &best {
                None => true,
                Some(best) => {
                    best.status != OpenAiJobStatus::Succeeded && job.status == OpenAiJobStatus::Succeeded
                }
            };
            if matches(&job) && !job.is_lost() && is_better {
                best = Some(job);
            }
        }
        // A server that does not know `after` gives the same page again and again.
        if best.is_some() || page.next.is_none() || page.next == after {
            break;
        }
        after = page.next;
    }
    Ok(best.map(|job| TrainingId(job.id)))
}

/// The answer to the request that starts a training was lost. The next attempt looks for the training, which a server without a list
/// never shows; started again, it might be paid for twice.
pub(super) async fn unclear(http: &Http, why: String) -> Result<TrainingId, StartError> {
    match http.get(JOBS, &[("limit", "1")]).await {
        Err(error) if error.is_not_implemented() => {
            Err(StartError::NotStarted(ProviderError::Refused(format!(
                "no answer to the request that starts the training: {why}; this server lists no trainings, so look there \
             whether it has started before you ask again"
            ))))
        }
        _ => Err(StartError::Unclear(why)),
    }
}

/// The job of that id.
pub(super) async fn get(http: &Http, id: &str) -> Result<OpenAiJob, CallError> {
    let answer = http.get(&[JOBS, &[id]].concat(), &[]).await?;
    OpenAiJob::read(&answer).ok_or_else(|| {
        let excerpt = http.redact(&answer.to_string());
        CallError::Garbled(format!(
            "{}: no job where {id} should be: {excerpt}",
            http.redacted_url()
        ))
    })
}

/// Stops it. A server refuses that for a job that has ended, each with another status, and may have carried out what it did not answer:
/// so the job itself decides.
pub(super) async fn cancel(http: &Http, id: &str) -> Result<(), ProviderError> {
    let refused = match http.post(&[JOBS, &[id, "cancel"]].concat(), None).await {
        Ok(_) => return Ok(()),
        Err(refused) => refused,
    };
    match get(http, id).await {
        Ok(job) if job.has_ended() => Ok(()),
        Err(error) if matches!(error.status(), Some(404 | 410)) => Ok(()),
        Ok(_) | Err(_) => Err(refused.into()),
    }
}
