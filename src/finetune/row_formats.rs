//! Writes a training row in the formats of other tools, one line of JSON each, with the escapes of the original row.

use super::{Conversation, RowFormat};
use crate::python::json::write_string;

impl RowFormat {
    /// Appends the row's line, with its line feed, to `out`.
    pub fn write(self, row: &Conversation<'_>, out: &mut String) {
        match self {
            RowFormat::Sharegpt => sharegpt(row, out),
            RowFormat::Alpaca => alpaca(row, out),
            RowFormat::PromptCompletion => prompt_completion(row, out),
        }
    }
}

/// `{"conversations":[{"from":"human","value":…},{"from":"gpt","value":…}],"system":…}`: the format of LLaMA-Factory and axolotl. Human
/// and gpt alternate, because LLaMA-Factory drops other rows.
pub fn sharegpt(row: &Conversation<'_>, out: &mut String) {
    out.push_str("{\"conversations\":[");
    for (at, turn) in row.turns().iter().enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        out.push_str("{\"from\":\"human\",\"value\":");
        write_string(&turn.user, out);
        out.push_str("},{\"from\":\"gpt\",\"value\":");
        write_string(turn.assistant, out);
        out.push('}');
    }
    out.push_str("],\"system\":");
    write_string(row.system().unwrap_or_default(), out);
    out.push_str("}\n");
}

/// `{"instruction":…,"input":"","output":…,"system":…,"history":[[user, assistant],…]}`: the three keys of Stanford Alpaca, and the keys
/// of LLaMA-Factory for the system message and demos.
pub fn alpaca(row: &Conversation<'_>, out: &mut String) {
    let turns = row.turns();
    let Some((last, history)) = turns.split_last() else {
        return;
    };
    out.push_str("{\"instruction\":");
    write_string(&last.user, out);
    out.push_str(",\"input\":\"\",\"output\":");
    write_string(last.assistant, out);
    out.push_str(",\"system\":");
    write_string(row.system().unwrap_or_default(), out);
    out.push_str(",\"history\":[");
    for (at, turn) in history.iter().enumerate() {
        out.push_str(if at > 0 { ",[" } else { "[" });
        write_string(&turn.user, out);
        out.push(',');
        write_string(turn.assistant, out);
        out.push(']');
    }
    out.push_str("]}\n");
}

/// `{"prompt":[messages],"completion":[the last message]}`: the format of TRL, which then trains on the answer only, with any chat template.
pub fn prompt_completion(row: &Conversation<'_>, out: &mut String) {
    let Some((_, prompt)) = row.messages.split_last() else {
        return;
    };
    out.push_str("{\"prompt\":[");
    for (at, earlier) in prompt.iter().enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        message(&earlier.role, &earlier.content, out);
    }
    out.push_str("],\"completion\":[");
    message("assistant", row.answer(), out);
    out.push_str("]}\n");
}

fn message(role: &str, content: &str, out: &mut String) {
    out.push_str("{\"role\":");
    write_string(role, out);
    out.push_str(",\"content\":");
    write_string(content, out);
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    const ROW: &str = r#"{"messages":[{"role":"system","content":"Sort."},{"role":"user","content":"demo?"},{"role":"assistant","content":"card"},{"role":"user","content":"«naïve» \"q\"\n\u0007?"},{"role":"assistant","content":"fee \\o/"}]}"#;

    fn converted(line: &str, format: RowFormat) -> String {
        let mut out = String::new();
        format.write(&Conversation::read(line).expect("a row"), &mut out);
        out
    }

    fn parsed(line: &str, format: RowFormat) -> Json {
        serde_json::from_str(&converted(line, format)).expect("JSON")
    }

    #[test]
    fn alpaca_puts_demos_into_history() {
        assert_eq!(
            parsed(ROW, RowFormat::Alpaca),
            json!({"instruction": "«naïve» \"q\"\n\u{7}?", "input": "", "output": "fee \\o/", "system": "Sort.",
                "history": [["demo?", "card"]]})
        );
    }

    #[test]
    fn sharegpt_keeps_turns_and_system_message() {
        assert_eq!(
            parsed(ROW, RowFormat::Sharegpt),
            json!({"conversations": [{"from": "human", "value": "demo?"}, {"from": "gpt", "value": "card"},
                {"from": "human", "value": "«naïve» \"q\"\n\u{7}?"}, {"from": "gpt", "value": "fee \\o/"}],
                "system": "Sort."})
        );
    }

    #[test]
    fn prompt_completion_keeps_the_bytes_of_the_row() {
        let line = converted(ROW, RowFormat::PromptCompletion);
        let (head, tail) = ROW.rsplit_once(",{\"role\":\"assistant\"").expect("an answer");
        let head = head.replace("{\"messages\":", "{\"prompt\":");
        assert_eq!(
            line,
            format!("{head}],\"completion\":[{{\"role\":\"assistant\"{tail}\n")
        );
    }

    #[test]
    fn answer_without_question_gets_an_empty_question() {
        let row = r#"{"messages":[{"role":"system","content":"s"},{"role":"assistant","content":"a"}]}"#;
        assert_eq!(parsed(row, RowFormat::Alpaca)["instruction"], "");
        let turns = parsed(row, RowFormat::Sharegpt)["conversations"].clone();
        assert_eq!(
            turns,
            json!([{"from": "human", "value": ""}, {"from": "gpt", "value": "a"}])
        );
        assert_eq!(
            parsed(row, RowFormat::PromptCompletion)["prompt"],
            json!([{"role": "system", "content": "s"}])
        );
    }

    #[test]
    fn random_rows_survive_every_format() {
        let mut random = fastrand::Rng::with_seed(4);
        for _ in 0..500 {
            let mut text = || -> String {
                (0..random.usize(1..30))
                    .map(|_| random.char('\0'..='🦀'))
                    .collect()
            };
            let (system, turns) = (text(), [[text(), text()], [text(), text()]]);
            let mut messages = vec![json!({"role": "system", "content": system})];
            for [user, assistant] in &turns {
                messages.push(json!({"role": "user", "content": user}));
                messages.push(json!({"role": "assistant", "content": assistant}));
            }
            let line = json!({"messages": messages}).to_string();

            let row = parsed(&line, RowFormat::PromptCompletion);
            let both = [row["prompt"].as_array(), row["completion"].as_array()];
            let whole: Vec<Json> = both.into_iter().flatten().flatten().cloned().collect();
            assert_eq!(whole, messages);

            let row = parsed(&line, RowFormat::Alpaca);
            assert_eq!(
                (&row["system"], &row["history"]),
                (&json!(system), &json!([turns[0]]))
            );
            assert_eq!(
                [&row["instruction"], &row["output"]],
                [&json!(turns[1][0]), &json!(turns[1][1])]
            );

            let row = parsed(&line, RowFormat::Sharegpt);
            let values: Vec<&Json> = row["conversations"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|m| &m["value"])
                .collect();
            assert_eq!(json!(values), json!(turns.concat()));
        }
    }

    #[test]
    fn read_rejects_invalid_rows() {
        for (line, why) in [
            (r#"{"messages":[{"role":"user","content":"q"}]}"#, "last message"),
            (r#"{"messages":[]}"#, "last message"),
            (
                r#"{"messages":[{"role":"tool","content":"t"},{"role":"assistant","content":"a"}]}"#,
                "`tool`",
            ),
            (
                r#"{"messages":[{"role":"assistant","content":"a","weight":0}]}"#,
                "weight",
            ),
            (
                r#"{"messages":[{"role":"user","content":"u"},{"role":"system","content":"s"},{"role":"assistant","content":"a"}]}"#,
                "not the first",
            ),
            ("{}", "messages"),
        ] {
            let refused = Conversation::read(line).expect_err(line).to_string();
            assert!(refused.contains(why), "{line}: {refused}");
        }
    }
}
