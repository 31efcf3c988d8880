//! The parts of a trainer's entry that have rules of their own.

use super::config::{
    DEFAULT_PATTERNS, DEFAULT_READY, DEFAULT_RESULT, ProgressRule, ResultRule, Serve, ServeHow, TrainFormat,
};
use super::table::Table;
use super::template::placeholders::is_train_key;
use super::template::values::unfit_value;
use super::template::{Template, is_name};
use super::work_dir::DEFAULT_GRACE;
use crate::schema::nearest;
use indexmap::IndexMap;
use regex::Regex;
use serde_json::{Map, Value as Json};
use std::path::Path;
use std::time::Duration;

pub(super) fn defaults(table: &mut Table<'_, '_>) -> Map<String, Json> {
    let values = table.json("defaults");
    for (key, value) in &values {
        if !is_name(key) {
            table.report_key(
                "defaults",
                &format!("has `{key}`: names have letters, digits and `_`"),
            );
        } else if !is_train_key(key) {
            table.report_key(
                "defaults",
                &format!("has `{key}`, which is a placeholder of bsft's own: take it out"),
            );
        } else if let Some(why) = unfit_value(value) {
            table.report_key(
                "defaults",
                &format!("has `{key}`, which {why}: write a number, true, false or a string"),
            );
        }
    }
    values
}

pub(super) fn train_format(table: &mut Table<'_, '_>) -> TrainFormat {
    match table.text("train_format").as_deref() {
        Some("messages") => TrainFormat::Messages,
        None | Some("prompt_completion") => TrainFormat::PromptCompletion,
        Some(other) => {
            let remedy = nearest(other, ["messages", "prompt_completion"].into_iter());
            table.report_key("train_format", &format!("is `{other}`: {remedy}"));
            TrainFormat::Messages
        }
    }
}

pub(super) fn files(table: &mut Table<'_, '_>) -> IndexMap<String, Vec<Template>> {
    let texts = table.text_table("files");
    let mut files = IndexMap::new();
    for (name, text) in texts {
        let is_plain = Path::new(&name)
            .file_name()
            .is_some_and(|plain| plain == name.as_str());
        if !is_plain || super::work_dir::OWN_NAMES.contains(&name.as_str()) || name.contains(char::is_control)
        {
            table.report_key(
                "files",
                &format!("has `{name}`: write a plain file name that bsft does not use itself, such as `config.yaml`"),
            );
        }
        let lines = text
            .split_inclusive('\n')
            .map(|line| table.template_of(&format!("files.{name}"), line));
        let lines = lines.collect();
        files.insert(name, lines);
    }
    files
}

pub(super) fn result(table: &mut Table<'_, '_>) -> ResultRule {
    let default = || DEFAULT_RESULT.map(str::to_owned).to_vec();
    let Some(mut rule) = table.table("result") else {
        return ResultRule {
            any_of: default(),
            may_stop_early: false,
        };
    };
    rule.only(&["any_of", "may_stop_early"]);
    let any_of = rule.texts("any_of").unwrap_or_else(default);
    if any_of.iter().any(|name| !is_inside(name)) {
        rule.report_key(
            "any_of",
            "leads out of the output folder: write paths within it, such as `model.safetensors`",
        );
    }
    ResultRule {
        any_of,
        may_stop_early: rule.flag("may_stop_early").unwrap_or(false),
    }
}

pub(super) fn progress(table: &mut Table<'_, '_>) -> ProgressRule {
    const GROUPS: [&str; 5] = ["step", "total_steps", "epoch", "loss", "percent"];
    let default = || DEFAULT_PATTERNS.map(str::to_owned).to_vec();
    let mut given = table.table("progress");
    if let Some(rule) = &mut given {
        rule.only(&["regex", "jsonl"]);
    }
    let texts = given
        .as_mut()
        .and_then(|rule| rule.text_or_texts("regex"))
        .unwrap_or_else(default);
    let mut patterns = Vec::new();
    for text in texts {
        let problem = match Regex::new(&text) {
            Err(error) => format!("is not a regular expression: {error}"),
            Ok(regex) => {
                let unknown = regex
                    .capture_names()
                    .flatten()
                    .find(|name| !GROUPS.contains(name));
                let problem = match unknown {
                    Some(name) => Some(format!(
                        "has the group `{name}`: {}",
                        nearest(name, GROUPS.into_iter())
                    )),
                    None if regex.capture_names().flatten().next().is_none() => Some(
                        "has no named group: write `(?P<loss>…)`, also step, total_steps, epoch, percent"
                            .to_owned(),
                    ),
                    None => None,
                };
                patterns.push(regex);
                let Some(problem) = problem else { continue };
                problem
            }
        };
        table.report_key("progress.regex", &problem);
    }
    let mut given = table.table("progress");
    let jsonl = given.as_mut().and_then(|rule| rule.text("jsonl"));
    if jsonl.as_deref().is_some_and(|name| !is_inside(name)) {
        table.report_key(
            "progress.jsonl",
            "leads out of the output folder: write a path within it",
        );
    }
    ProgressRule { patterns, jsonl }
}

pub(super) fn serve(table: &mut Table<'_, '_>) -> Option<Serve> {
    let mut serve = table.table("serve")?;
    serve.only(&[
        "post",
        "body",
        "api_key_env",
        "argv",
        "ready_url",
        "ready_timeout_secs",
        "api_base",
    ]);
    let (url, argv, ready_url) = (
        serve.template("post"),
        serve.arguments("argv"),
        serve.template("ready_url"),
    );
    let (body, api_key_env) = (serve.body("body"), serve.text("api_key_env"));
    if url.is_none() && (!body.is_empty() || api_key_env.is_some()) {
        serve.report_key("post", "is missing: write the address that `body` is sent to");
    }
    let how = match (url, argv) {
        (Some(url), argv) if argv.is_empty() => ServeHow::Post {
            url,
            body,
            api_key_env,
        },
        (Some(_), _) => {
            serve.report_key("argv", "is there beside `post`: write one of them");
            return None;
        }
        (None, argv) if !argv.is_empty() => ServeHow::Command(argv),
        (None, _) if ready_url.is_some() => ServeHow::Wait,
        (None, _) => {
            serve.report("says nothing to do: write `post`, `argv` or `ready_url`");
            return None;
        }
    };
    Some(Serve {
        how,
        ready_url,
        ready_timeout: serve.seconds("ready_timeout_secs").unwrap_or(DEFAULT_READY),
        api_base: serve.template("api_base"),
    })
}

pub(super) fn grace(table: &mut Table<'_, '_>) -> Duration {
    let Some(mut cancel) = table.table("cancel") else {
        return DEFAULT_GRACE;
    };
    cancel.only(&["grace_secs"]);
    cancel.seconds("grace_secs").unwrap_or(DEFAULT_GRACE)
}

/// Whether a relative path stays in the folder that it is joined to.
fn is_inside(path: &str) -> bool {
    use std::path::Component;
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}
