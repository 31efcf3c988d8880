//! Preflight: finds what would make a training fail, without cost.

use super::super::http::{CallError, Http, NoAccess};
use super::super::{ProviderError, ServiceSpec, TrainingSpec};
use super::jobs::JOBS;
use super::wire_types::{Page, id, text};
use super::{OWN, create_job, new_model_name};
use crate::finetune::train_keys::openai_problems;
use crate::schema::nearest;
use std::time::{SystemTime, UNIX_EPOCH};

/// A model that is retired within this number of days gets a warning.
const SOON: i64 = 30;

/// Two names that differ by at most this number of edits are one name and its misspelling.
const MAX_TYPOS: usize = 2;

/// What the preflight has found so far.
#[derive(Default)]
struct Findings {
    /// A training would fail.
    problems: Vec<String>,
    /// It would not fail, but the account's owner should know.
    warnings: Vec<String>,
    /// The server could not be asked just now.
    away: Option<String>,
}

/// Returns all problems of a training in one error, or the warnings.
pub(super) async fn check(
    spec: &ServiceSpec,
    http: &Result<Http, NoAccess>,
    recipe: &TrainingSpec,
) -> Result<Vec<String>, ProviderError> {
    let mut found = Findings::default();
    found.problems.extend(openai_problems(&recipe.train));
    found.problems.extend(create_job::extra_problem(&spec.extra));
    match http {
        Err(error) => found.problems.push(error.to_string()),
        Ok(http) => {
            let azure = new_model_name::is_azure(http);
            let longest = new_model_name::longest(azure);
            if spec
                .suffix
                .as_ref()
                .is_some_and(|suffix| suffix.chars().count() > longest)
            {
                found.problems.push(format!(
                    "suffix is longer than the {longest} characters that this server takes"
                ));
            }
            found.lists(http).await;
            if found.away.is_none() {
                found.model(http, recipe.base_model()).await;
            }
            found.notes(http, azure);
        }
    }
    match (found.problems.is_empty(), found.away) {
        (false, _) => Err(ProviderError::Refused(found.problems.join("; "))),
        (true, Some(why)) => Err(ProviderError::Passing(why)),
        (true, None) => Ok(found.warnings),
    }
}

impl Findings {
    /// Does the server answer, take the key, and list its trainings?
    async fn lists(&mut self, http: &Http) {
        match http.get(JOBS, &[("limit", "1")]).await {
            Ok(_) => {}
            Err(error) if error.is_not_implemented() => self.warnings.push(format!(
                "{} lists no trainings: should a worker die in the moment of a start, look there before you start again",
                http.redacted_url()
            )),
            Err(CallError::Refused(no)) if matches!(no.status, 401 | 403) => {
                let message = format!("{}; is the variable in api_key_env the right one?", no.message);
                self.problems.push(message);
            }
            Err(CallError::Refused(no)) => self.problems.push(no.message),
            Err(error) => self.away = Some(error.to_string()),
        }
    }

    /// Does the server have the model, and for how long?
    async fn model(&mut self, http: &Http, model: &str) {
        match http.get(&["models", model], &[]).await {
            Ok(known) => self.shutdown(model, text(&known, "shutdown_date").as_deref(), today()),
            Err(error) if matches!(error.status(), Some(404 | 405)) => self.among(http, model).await,
            // The list of jobs has already reported what is wrong with the key.
            Err(error) if matches!(error.status(), Some(401 | 403)) => {}
            Err(error) => self
                .warnings
                .push(format!("could not look up the model {model}: {error}")),
        }
    }

    /// Servers other than OpenAI's may train models that they do not list, so this is only a warning there, unless it is
    /// one that they list and misspelt.
    async fn among(&mut self, http: &Http, model: &str) {
        let listed = match http.get(&["models"], &[]).await {
            Ok(answer) => Page::read(answer).items,
            Err(error) => {
                let warning = format!("could not look up the model {model}: {error}");
                return self.warnings.push(warning);
            }
        };
        if let Some(known) = listed.iter().find(|known| id(known).as_deref() == Some(model)) {
            return self.shutdown(model, text(known, "shutdown_date").as_deref(), today());
        }
        let ids: Vec<String> = listed.iter().filter_map(id).collect();
        let hint = nearest(model, ids.iter().map(String::as_str));
        let lacks = format!("{} lists no model {model}", http.redacted_url());
        if is_own(http) || ids.iter().any(|known| is_misspelt(model, known)) {
            self.problems.push(format!("{lacks}: {hint}"))
        } else {
            self.warnings.push(lacks)
        }
    }

    fn shutdown(&mut self, model: &str, date: Option<&str>, today: i64) {
        let Some((date, day)) = date.and_then(|date| Some((date, day(date)?))) else {
            return;
        };
        if day <= today {
            self.problems.push(format!(
                "the model {model} was shut down on {date}; choose another"
            ));
        } else if day - today <= SOON {
            self.warnings.push(format!(
                "the model {model}, and what is trained of it, is shut down on {date}"
            ));
        }
    }

    /// The services' own notices about fine-tuning.
    fn notes(&mut self, http: &Http, azure: bool) {
        if is_own(http) {
            self.warnings.push(
                "OpenAI accepts no fine-tuning jobs from new customers, and from 2027-01-06 on none at all; provider = \"command\", \
                 \"together\" and \"fireworks\" go on"
                    .to_owned(),
            );
        }
        if azure {
            self.warnings
                .push("Azure answers from the new model only once it is deployed there".to_owned());
        }
    }
}

/// Whether one name is a misspelling of the other: one or two characters, but no digit, since a digit names another model.
fn is_misspelt(written: &str, known: &str) -> bool {
    let digits = |name: &str| -> String { name.chars().filter(char::is_ascii_digit).collect() };
    strsim::damerau_levenshtein(written, known) <= MAX_TYPOS && digits(written) == digits(known)
}

fn is_own(http: &Http) -> bool {
    http.redacted_url().trim_end_matches('/') == OWN
}

/// Days since 1970-01-01.
fn today() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs() / 86_400).unwrap_or(i64::MAX)
}

/// The day of a `YYYY-MM-DD`, counted from 1970-01-01.
fn day(date: &str) -> Option<i64> {
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March have their leap day at the end, and months of 30.6 days.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some(days - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_misspelt_accepts_two_typos_and_no_other_digit() {
        assert!(is_misspelt("gpt-tset", "gpt-test"));
        assert!(is_misspelt("qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"));
        assert!(!is_misspelt("Llama-3.2-8B", "Llama-3.1-8B"));
        assert!(!is_misspelt("base-model", "oracle"));
    }

    #[test]
    fn day_counts_calendar_days_from_1970() {
        assert_eq!(day("1970-01-01"), Some(0));
        assert_eq!(day("2000-02-29"), Some(11_016));
        assert_eq!(day("2000-03-01"), Some(11_017));
        assert_eq!(day("2027-01-14"), Some(20_832));
        for nonsense in [
            "",
            "2027",
            "2027-13-01",
            "soon",
            "2027-01-1x",
            "99999999999999999999-01-01",
        ] {
            assert_eq!(day(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn retired_model_is_a_problem_and_a_coming_retirement_a_warning() {
        let found_on = |date: &str| {
            let mut found = Findings::default();
            found.shutdown("m", Some(date), day("2026-11-23").unwrap());
            (found.problems.len(), found.warnings.len())
        };
        assert_eq!(found_on("2026-11-23"), (1, 0));
        assert_eq!(found_on("2026-11-24"), (0, 1));
        assert_eq!(found_on("2026-12-23"), (0, 1));
        assert_eq!(found_on("2026-12-24"), (0, 0));
        assert_eq!(found_on("never"), (0, 0));
    }
}
