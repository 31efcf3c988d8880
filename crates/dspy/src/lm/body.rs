//! The JSON body of a chat-completions request, byte for byte as DSPy's native engine sends it.

use super::LmArguments;
use serde_json::{Map, Value as Json};

/// The named arguments that DSPy sends before `response_format`, in order.
const BEFORE_FORMAT: [&str; 11] = [
    "temperature",
    "top_p",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "logprobs",
    "top_logprobs",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
];

/// The named arguments that DSPy sends after `response_format`, in order.
const AFTER_FORMAT: [&str; 4] = ["reasoning_effort", "service_tier", "user", "store"];

/// The arguments that DSPy always converts to floats.
const FLOATS: [&str; 4] = ["temperature", "top_p", "frequency_penalty", "presence_penalty"];

/// The arguments that are never sent: DSPy uses them itself, or they have another place in the body.
const KEPT_BACK: [&str; 7] = [
    "model",
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "rollout_id",
    "response_format",
];

/// A predictor's request body without the messages. It is built once and rendered for every call.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestBody {
    head: String,
    before_format: String,
    format: Option<String>,
    after_format: String,
}

/// Why no request can be built from the arguments.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The job requests more than one completion.
    #[error("lm `{lm}`: n = {n} is not supported; leave `n` out, or set `repeat` on the predictor")]
    ManyCompletions {
        /// The LM's name in the job file.
        lm: String,
        /// The requested number.
        n: String,
    },
    /// The job requests a streamed answer.
    #[error("lm `{lm}`: streamed answers are not read; leave `stream` out")]
    Stream {
        /// The LM's name in the job file.
        lm: String,
    },
}

impl RequestBody {
    /// Merges the LM's arguments with the predictor's `config`, as `{**lm.kwargs, **config}`. A null removes the
    /// argument.
    pub fn new(lm: &LmArguments<'_>, config: &Map<String, Json>) -> Result<RequestBody, BodyError> {
        let args = merged(lm, config);
        let given = |key: &str| args.get(key).filter(|value| !value.is_null());
        if let Some(n) = given("n").filter(|n| n.as_u64() != Some(1)) {
            return Err(BodyError::ManyCompletions {
                lm: lm.name.to_owned(),
                n: n.to_string(),
            });
        }
        if given("stream").is_some_and(|stream| stream != &Json::Bool(false)) {
            return Err(BodyError::Stream {
                lm: lm.name.to_owned(),
            });
        }

        let (prefix, model) = lm.model.split_once('/').unwrap_or(("openai", lm.model));
        let mut head = String::from(r#"{"model":"#);
        head.push_str(&Json::from(model).to_string());
        head.push_str(r#","messages":"#);

        let mut before_format = String::new();
        if let Some(most) = given("max_completion_tokens").or_else(|| given("max_tokens")) {
            let field = if prefix == "openai" {
                "max_completion_tokens"
            } else {
                "max_tokens"
            };
            push(&mut before_format, field, most);
        }
        for key in BEFORE_FORMAT {
            if let Some(value) = given(key) {
                push(&mut before_format, key, value);
            }
        }
        let mut after_format = String::new();
        for key in AFTER_FORMAT {
            if let Some(value) = given(key) {
                push(&mut after_format, key, value);
            }
        }
        for (key, value) in &args {
            let placed = [&BEFORE_FORMAT[..], &AFTER_FORMAT, &KEPT_BACK]
                .iter()
                .any(|keys| keys.contains(&&**key));
            match value {
                Json::Null => {}
                Json::Object(body) if key == "extra_body" => {
                    body.iter()
                        .for_each(|(key, value)| push(&mut after_format, key, value));
                }
                _ if placed || key == "stream" => {}
                _ => push(&mut after_format, key, value),
            }
        }
        after_format.push('}');
        let format = given("response_format").map(Json::to_string);
        Ok(RequestBody {
            head,
            before_format,
            format,
            after_format,
        })
    }

    /// Renders the body around `messages_json`, a JSON array. `response_format` replaces the one in the arguments.
    pub fn render(&self, messages_json: &str, response_format: Option<&Json>) -> String {
        let given = response_format.map(Json::to_string);
        let format = given.as_ref().or(self.format.as_ref());
        let parts = [&self.head, messages_json, &self.before_format];
        let len = parts.iter().map(|part| part.len()).sum::<usize>() + self.after_format.len();
        let mut body = String::with_capacity(len + format.map_or(0, |f| f.len() + FORMAT_KEY.len()));
        parts.iter().for_each(|part| body.push_str(part));
        if let Some(format) = format {
            body.push_str(FORMAT_KEY);
            body.push_str(format);
        }
        body.push_str(&self.after_format);
        body
    }
}

const FORMAT_KEY: &str = r#","response_format":"#;

/// `{**lm.kwargs, **config}`: a key keeps the position of its first occurrence.
fn merged(lm: &LmArguments<'_>, config: &Map<String, Json>) -> Map<String, Json> {
    let mut args = Map::new();
    if let Some(temperature) = lm.temperature {
        args.insert("temperature".to_owned(), temperature.into());
    }
    if let Some(max_tokens) = lm.max_tokens {
        args.insert("max_tokens".to_owned(), max_tokens.into());
    }
    for (key, value) in lm.extra.iter().chain(config) {
        // The limit has two names; the one that occurs last wins.
        match key.as_str() {
            "max_tokens" => drop(args.shift_remove("max_completion_tokens")),
            "max_completion_tokens" => drop(args.shift_remove("max_tokens")),
            _ => {}
        }
        args.insert(key.clone(), value.clone());
    }
    args
}

fn push(body: &mut String, key: &str, value: &Json) {
    body.push(',');
    body.push_str(&Json::from(key).to_string());
    body.push(':');
    match value {
        Json::Number(number) if FLOATS.contains(&key) => {
            body.push_str(&number.as_f64().map_or(value.clone(), Json::from).to_string());
        }
        Json::String(_) if key == "stop" => {
            body.push('[');
            body.push_str(&value.to_string());
            body.push(']');
        }
        _ => body.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(model: &str, extra: Json, config: Json) -> Result<String, BodyError> {
        let map = |json: Json| json.as_object().expect("an object").clone();
        let extra = map(extra);
        let lm = LmArguments {
            name: "teacher",
            model,
            api_base: None,
            temperature: Some(0.7),
            max_tokens: Some(10),
            num_retries: None,
            extra: &extra,
        };
        Ok(RequestBody::new(&lm, &map(config))?.render("[]", None))
    }

    #[test]
    fn body_keys_have_the_order_of_dspy() {
        // Recorded from DSPy 3.4.1.
        let extra = json!({"metadata": {"a": "b"}, "store": true, "stop": "x", "presence_penalty": 1, "top_p": 0.9,
            "frequency_penalty": 0.5, "seed": 3, "reasoning_effort": "low", "user": "u"});
        let config =
            json!({"temperature": 0, "response_format": {"type": "json_object"}, "logit_bias": {"5": 1}});
        let wanted = r#"{"model":"a/b","messages":[],"max_completion_tokens":10,"temperature":0.0,"top_p":0.9,"seed":3,"frequency_penalty":0.5,"presence_penalty":1.0,"stop":["x"],"response_format":{"type":"json_object"},"reasoning_effort":"low","user":"u","store":true,"metadata":{"a":"b"},"logit_bias":{"5":1}}"#;
        assert_eq!(body("openai/a/b", extra, config).unwrap(), wanted);
    }

    #[test]
    fn null_in_config_omits_the_setting_of_the_lm() {
        let got = body(
            "openai/local:/p",
            json!({"rollout_id": 3}),
            json!({"temperature": null, "max_tokens": null}),
        );
        assert_eq!(got.unwrap(), r#"{"model":"local:/p","messages":[]}"#);
    }

    #[test]
    fn servers_other_than_openai_get_max_tokens() {
        let got = body(
            "hosted_vllm/q",
            json!({"extra_body": {"min_p": 0.1}, "top_k": 5}),
            json!({"n": 1}),
        );
        let wanted = r#"{"model":"q","messages":[],"max_tokens":10,"temperature":0.7,"min_p":0.1,"top_k":5}"#;
        assert_eq!(got.unwrap(), wanted);
    }

    #[test]
    fn several_completions_are_refused() {
        let error = body("openai/a", json!({}), json!({"n": 3}))
            .unwrap_err()
            .to_string();
        assert!(error.contains("n = 3"), "{error}");
    }

    #[test]
    fn response_format_of_the_call_replaces_the_configured_one() {
        let body = RequestBody {
            head: "{".into(),
            before_format: String::new(),
            format: Some("1".into()),
            after_format: "}".into(),
        };
        assert_eq!(body.render("[]", Some(&json!(2))), r#"{[],"response_format":2}"#);
        assert_eq!(body.render("[]", None), r#"{[],"response_format":1}"#);
    }
}
