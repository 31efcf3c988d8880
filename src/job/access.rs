//! Names of servers and keys in a job file: addresses, environment variables, and tables without secrets.

use crate::schema::form::Read;
use crate::schema::{Item, Problems, Section};
use crate::secret::{is_variable_name, looks_secret};
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
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            let message = format!("`{}` has a `?` or `#` part", item.name);
            let remedy = azure_remedy(&url).unwrap_or_else(|| example.to_owned());
            item.place.report(problems, message, remedy);
            return None;
        }
        Ok(_) => return Some(text.to_owned()),
    };
    item.place
        .report(problems, format!("`{}` {fault}", item.name), example);
    None
}

/// Ends of addresses that bsft or another protocol adds to `api_base`.
const ENDPOINTS: [&str; 4] = ["/chat/completions", "/completions", "/responses", "/embeddings"];

/// Hosts of Azure, by their ends.
const AZURE_HOSTS: [&str; 3] = [
    ".openai.azure.com",
    ".cognitiveservices.azure.com",
    ".services.ai.azure.com",
];

/// The path of Azure's addresses that speak OpenAI's protocol.
const AZURE_PATH: &str = "/openai/v1";

/// Why the address of an LM is probably not meant, and what to write; `None` if it looks right.
pub(super) fn address_warning(api_base: &str) -> Option<String> {
    let url = Url::parse(api_base).ok()?;
    let path = url.path().trim_end_matches('/');
    if is_azure(&url) && path != AZURE_PATH {
        return azure_remedy(&url);
    }
    let end = ENDPOINTS.iter().find(|end| path.ends_with(*end))?;
    let mut base = url.clone();
    base.set_path(path.strip_suffix(end)?);
    let base = base.as_str().trim_end_matches('/');
    Some(format!(
        "it ends in `{end}`, and requests go to {{api_base}}/chat/completions: write `{base}`"
    ))
}

fn is_azure(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    AZURE_HOSTS.iter().any(|end| host.ends_with(end))
}

/// What to write in place of one of Azure's older addresses, `https://NAME.openai.azure.com/openai/deployments/DEPLOYMENT` with
/// `?api-version=…`. `None` if the address is not Azure's.
fn azure_remedy(url: &Url) -> Option<String> {
    let is_older = url.query_pairs().any(|(key, _)| key == "api-version");
    if !is_azure(url) && !is_older {
        return None;
    }
    let host = url.host_str().filter(|_| is_azure(url));
    let deployment = url
        .path_segments()
        .into_iter()
        .flatten()
        .skip_while(|part| *part != "deployments")
        .nth(1);
    Some(format!(
        "Azure has OpenAI's protocol at `api_base = \"https://{}{AZURE_PATH}\"`, with `model = \"openai/{}\"`, the name of the deployment",
        host.unwrap_or("NAME.openai.azure.com"),
        deployment.filter(|name| !name.is_empty()).unwrap_or("DEPLOYMENT")
    ))
}

pub(super) fn key_variable(text: &Read<'_, &str>, problems: &mut Problems) -> Option<String> {
    let (text, item) = (text.value, &text.item);
    if is_variable_name(text) {
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
