//! Names of servers and keys in a job file: addresses, environment variables, and tables without secrets.

use crate::schema::form::Read;
use crate::schema::{Item, Problems, Section};
use serde_json::{Map, Value as Json};
use url::Url;

pub(super) fn api_base(text: &Read<'_, &str>, problems: &mut Problems) -> Option<String> {
    let (text, item) = (text.value, &text.item);
    let example = "write an address such as `http://127.0.0.1:8000/v1`";
    let fault = match Url::parse(text) {
        Err(error) => format!("is not a URL: {error}"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => "is not an http or https URL".to_owned(),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "has a user name or password in it".to_owned()
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => "has a `?` or `#` part".to_owned(),
        Ok(_) => return Some(text.to_owned()),
    };
    item.place
        .report(problems, format!("`{}` {fault}", item.name), example);
    None
}

pub(super) fn key_variable(text: &Read<'_, &str>, problems: &mut Problems) -> Option<String> {
    let (text, item) = (text.value, &text.item);
    let is_name = !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.len() <= 64;
    if is_name && !looks_secret(text) {
        return Some(text.to_owned());
    }
    // The value may be an API key, so no message contains it.
    let message = format!(
        "`{}` is not the name of an environment variable (a key itself must not be in the file)",
        item.name
    );
    item.place.report(
        problems,
        message,
        "write `api_key_env = \"OPENAI_API_KEY\"` and set that variable",
    );
    None
}

/// Reads a table that is passed through. A table with an API key in it is a problem.
pub(super) fn open_arguments(table: &Section<'_>, problems: &mut Problems) -> Map<String, Json> {
    for (key, value) in table.items() {
        refuse_secrets(key, &value, problems);
    }
    table.to_json()
}

/// Whether a value looks like an API key.
fn looks_secret(text: &str) -> bool {
    let text = text.strip_prefix("Bearer ").unwrap_or(text);
    [
        "sk-", "sk_", "sess-", "gsk_", "hf_", "AIza", "xai-", "ghp_", "fw_",
    ]
    .iter()
    .any(|p| text.starts_with(p))
        && text.len() >= 8
}

fn refuse_secrets(key: &str, item: &Item<'_>, problems: &mut Problems) {
    if item.is_table() {
        for (key, value) in item.section(problems).iter().flat_map(Section::items) {
            refuse_secrets(key, &value, problems);
        }
        return;
    }
    let lower = key.to_lowercase().replace('-', "_");
    let named = [
        "api_key",
        "apikey",
        "authorization",
        "access_token",
        "auth_token",
        "secret",
        "password",
        "x_api_key",
    ]
    .contains(&lower.as_str());
    let valued = item.is_text() && item.text(problems).is_some_and(looks_secret);
    if named || valued {
        let message = format!("`{}` looks like a key or password", item.name);
        item.place.report(
            problems,
            message,
            "write `api_key_env = \"OPENAI_API_KEY\"` in [lm.NAME] and set that variable",
        );
    }
}
