//! Answers that DSPy's adapters parse, derived from the prompt: the same body always gets the same answer.

use serde_json::{Value as Json, json};
use std::hash::{DefaultHasher, Hasher as _};

/// The beginning of the part of a prompt in which DSPy's adapters list the output fields.
const REQUEST: &str = "Respond with ";

/// The relevant parts of a request.
#[derive(Debug)]
pub(crate) struct AskedQuestion {
    pub(crate) digest: u64,
    pub(crate) prompt_tokens: u64,
    content: String,
}

impl AskedQuestion {
    pub(crate) fn read(body: &str) -> AskedQuestion {
        let digest = digest(body);
        let last = last_message(body).unwrap_or_default();
        AskedQuestion {
            digest,
            prompt_tokens: body.len() as u64 / 4,
            content: content(&last, digest),
        }
    }

    /// A number of `from..=to` that depends only on the body.
    pub(crate) fn draw(&self, [from, to]: [u64; 2]) -> u64 {
        from + digest(&(self.digest, "draw")) % (to.saturating_sub(from) + 1)
    }

    /// A number from 0 to 1 that depends only on the body and the purpose.
    pub(crate) fn share(&self, purpose: &str) -> f64 {
        (digest(&(self.digest, purpose)) >> 32) as f64 / f64::from(u32::MAX)
    }

    /// The JSON of a completion with this number of tokens.
    pub(crate) fn completion(&self, tokens: u64) -> String {
        json!({
            "id": "limited",
            "object": "chat.completion",
            "created": 1,
            "model": "limited",
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": self.content},
                "finish_reason": "stop",
            }],
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": tokens,
                "total_tokens": self.prompt_tokens + tokens,
            },
        })
        .to_string()
    }
}

fn digest(value: &(impl std::hash::Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn last_message(body: &str) -> Option<String> {
    let body: Json = serde_json::from_str(body).ok()?;
    let content = &body["messages"].as_array()?.last()?["content"];
    Some(
        content
            .as_str()
            .map_or_else(|| content.to_string(), str::to_owned),
    )
}

/// The values of all output fields of the prompt, in the layout of its adapter. A field has the example's `gold=…` if
/// it has one.
fn content(prompt: &str, digest: u64) -> String {
    let gold = prompt.rsplit_once("gold=").map(|(_, rest)| {
        rest.chars()
            .take_while(|c| c.is_alphanumeric())
            .collect::<String>()
    });
    let value = |field: &str| gold.clone().unwrap_or_else(|| format!("{field} {digest:08x}"));
    let request = prompt.rfind(REQUEST).map_or("", |at| &prompt[at..]);
    // The names between each pair of delimiters.
    let between = |open: &str, close: &str| {
        let (mut rest, mut names) = (request, Vec::new());
        while let Some((_, after)) = rest.split_once(open)
            && let Some((name, after)) = after.split_once(close)
        {
            names.push(name.to_owned());
            rest = after;
        }
        names
    };
    if request.contains("JSON object") {
        let fields = between("`", "`").into_iter().map(|field| {
            let value = Json::from(value(&field));
            (field, value)
        });
        return Json::Object(fields.collect()).to_string();
    }
    let fields = between("[[ ## ", " ## ]]");
    if fields.is_empty() {
        return format!("ok {digest:08x}");
    }
    let mut out = String::new();
    for field in fields.iter().filter(|field| *field != "completed") {
        out.push_str(&format!("[[ ## {field} ## ]]\n{}\n\n", value(field)));
    }
    out + "[[ ## completed ## ]]"
}

#[cfg(test)]
mod tests {
    use super::AskedQuestion;
    use serde_json::json;

    fn content(prompt: &str) -> String {
        let body = json!({"messages": [{"role": "user", "content": prompt}]});
        AskedQuestion::read(&body.to_string()).content
    }

    #[test]
    fn answer_has_the_fields_of_a_chat_prompt() {
        let prompt = "[[ ## question ## ]]\nWhy? gold=blue\n\nRespond with the corresponding output fields, starting \
            with the field `[[ ## reasoning ## ]]`, then `[[ ## answer ## ]]`, and then ending with the marker for \
            `[[ ## completed ## ]]`.";
        let expected = "[[ ## reasoning ## ]]\nblue\n\n[[ ## answer ## ]]\nblue\n\n[[ ## completed ## ]]";
        assert_eq!(content(prompt), expected);
    }

    #[test]
    fn answer_has_the_fields_of_a_json_prompt() {
        let prompt =
            "gold=blue Respond with a JSON object in the following order of fields: `plan`, then `answer`.";
        assert_eq!(content(prompt), r#"{"plan":"blue","answer":"blue"}"#);
    }

    #[test]
    fn answers_to_different_bodies_differ() {
        assert_ne!(content("one"), content("two"));
        assert_eq!(content("one"), content("one"));
    }

    #[test]
    fn draw_stays_within_its_bounds() {
        for i in 0..1000 {
            let question = AskedQuestion::read(&i.to_string());
            assert!((3..=9).contains(&question.draw([3, 9])));
            assert!((0.0..=1.0).contains(&question.share("any")));
        }
    }
}
