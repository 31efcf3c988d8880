//! Forms of values that only the `--trainers` file has: texts with placeholders, commands, lengths of time.

use super::template::Template;
use super::trainers::{Argument, BodyValue};
use crate::schema::definition::Kind;
use crate::schema::form::Form;
use crate::schema::{Item, Problems};
use serde_json::Value as Json;
use std::num::NonZeroUsize;
use std::time::Duration;

/// The template in a text; a wrong placeholder is a problem.
pub(super) fn template(item: &Item<'_>, text: &str, problems: &mut Problems) -> Template {
    Template::parse(text).unwrap_or_else(|why| {
        let message = format!("`{}` has a wrong placeholder", item.name);
        item.place.report(problems, message, why);
        Template::default()
    })
}

/// A string with placeholders.
pub(super) struct TemplateText;

impl Form for TemplateText {
    type Output<'a> = Template;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<Template> {
        Some(template(item, item.word(problems)?, problems))
    }

    fn kind(&self) -> Kind {
        Kind::Text
    }
}

/// A string with placeholders in each line.
pub(super) struct TemplateLines;

impl Form for TemplateLines {
    type Output<'a> = Vec<Template>;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<Vec<Template>> {
        let lines = item.text(problems)?.split_inclusive('\n');
        Some(lines.map(|line| template(item, line, problems)).collect())
    }

    fn kind(&self) -> Kind {
        Kind::Text
    }
}

/// A command: strings, and lists of strings that may be left out together.
pub(super) struct CommandLine;

impl Form for CommandLine {
    type Output<'a> = Vec<Argument>;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<Vec<Argument>> {
        if !item.is_list() {
            return item.wrong(
                "a list",
                "[\"program\", \"argument\"]`: no shell splits a line, so write each argument as `\"…\"",
                problems,
            );
        }
        let list = item.list(problems)?;
        if list.is_empty() {
            let message = format!("`{}` is empty", item.name);
            item.place
                .report(problems, message, "write a command, or leave the key out");
            return None;
        }
        let mut arguments = Vec::new();
        for (at, mut part) in list.into_iter().enumerate() {
            part.name = format!("{}[{at}]", item.name);
            if !part.is_list() {
                if let Some(text) = part.text(problems) {
                    arguments.push(Argument::Always(template(&part, text, problems)));
                }
                continue;
            }
            let inner = part.list(problems).unwrap_or_default();
            let texts: Vec<&str> = inner.iter().filter_map(|one| one.text(problems)).collect();
            let templates = texts.iter().map(|text| template(&part, text, problems));
            arguments.push(Argument::Optional(templates.collect()));
        }
        Some(arguments)
    }

    fn kind(&self) -> Kind {
        let texts = Kind::List(Box::new(Kind::Text));
        Kind::List(Box::new(Kind::Either(Box::new(Kind::Text), Box::new(texts))))
    }
}

/// A number of seconds above zero.
pub(super) struct Seconds;

impl Form for Seconds {
    type Output<'a> = Duration;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<Duration> {
        let seconds = item.number(f64::NEG_INFINITY, f64::INFINITY, problems)?;
        match Duration::try_from_secs_f64(seconds) {
            Ok(length) if !length.is_zero() => Some(length),
            _ => {
                let message = format!("`{}` is {seconds}", item.name);
                item.place
                    .report(problems, message, "write a number of seconds above 0");
                None
            }
        }
    }

    fn kind(&self) -> Kind {
        Kind::Seconds
    }
}

/// An integer above zero.
pub(super) struct AboveZero;

impl Form for AboveZero {
    type Output<'a> = NonZeroUsize;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<NonZeroUsize> {
        let count = item.count(1, problems)?;
        usize::try_from(count).ok().and_then(NonZeroUsize::new)
    }

    fn kind(&self) -> Kind {
        Kind::Integer(1)
    }
}

/// A value of a request's body: a string with placeholders, or anything.
pub(super) struct BodyPart;

impl Form for BodyPart {
    type Output<'a> = BodyValue;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<BodyValue> {
        Some(match item.node().to_json() {
            Json::String(text) => BodyValue::Text(template(item, &text, problems)),
            other => BodyValue::Json(other),
        })
    }

    fn kind(&self) -> Kind {
        Kind::Any
    }
}
