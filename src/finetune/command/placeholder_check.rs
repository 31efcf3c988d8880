//! Checks the placeholders of a trainer's entry: whatever a job sets, each has a value or may be omitted.

use super::entry_tables::TableReport;
use super::template::Template;
use super::template::placeholders::{self, ARTEFACT, SOMETIMES, is_built_in};
use super::trainers::{Argument, BodyValue, ServeHow, Trainer};
use crate::schema::nearest;

/// Interpreters that execute an argument as code.
const INTERPRETERS: [&str; 9] = [
    "sh", "bash", "dash", "zsh", "ksh", "python", "perl", "ruby", "node",
];

/// The context of a placeholder.
#[derive(Clone, Copy)]
struct Site {
    /// Whether it may have no value here.
    optional: bool,
    /// Whether the built-in placeholder has a value at this point.
    knows: fn(&str) -> bool,
}

/// Reports every invalid placeholder of `trainer`.
pub(super) fn check(trainer: &Trainer, report: &mut TableReport<'_, '_>) {
    let training = |name: &str| name != ARTEFACT;
    command(trainer, report, "argv", &trainer.argv, training);
    command(trainer, report, "upload", &trainer.upload, training);
    command(
        trainer,
        report,
        "measure",
        &trainer.measure,
        placeholders::is_known_to_measure,
    );
    let check = |name: &str| placeholders::BEFORE_ROWS.contains(&name);
    command(trainer, report, "check", &trainer.check, check);
    let dropped = Site {
        optional: true,
        knows: training,
    };
    for (name, template) in &trainer.env {
        slots(trainer, report, &format!("env.{name}"), template, dropped);
    }
    for (name, lines) in &trainer.files {
        for line in lines {
            slots(trainer, report, &format!("files.{name}"), line, dropped);
        }
    }
    let after = Site {
        optional: false,
        knows: |_| true,
    };
    slots(trainer, report, "model", &trainer.model, after);
    let Some(serve) = &trainer.serve else { return };
    match &serve.how {
        ServeHow::Command(argv) => command(trainer, report, "serve.argv", argv, after.knows),
        ServeHow::Post { url, body, .. } => {
            slots(trainer, report, "serve.post", url, after);
            for (name, value) in body {
                if let BodyValue::Text(template) = value {
                    slots(trainer, report, &format!("serve.body.{name}"), template, after);
                }
            }
        }
        ServeHow::Wait => {}
    }
    for (key, template) in [
        ("serve.ready_url", &serve.ready_url),
        ("serve.api_base", &serve.api_base),
    ] {
        if let Some(template) = template {
            slots(trainer, report, key, template, after);
        }
    }
}

fn command(
    trainer: &Trainer,
    report: &mut TableReport<'_, '_>,
    key: &str,
    argv: &[Argument],
    knows: fn(&str) -> bool,
) {
    for argument in argv {
        let optional = matches!(argument, Argument::Optional(_));
        for template in argument.templates() {
            slots(trainer, report, key, template, Site { optional, knows });
        }
    }
    let Some(Argument::Always(program)) = argv.first() else {
        if !argv.is_empty() {
            report.key(key, "begins with a list", "write the program itself first");
        }
        return;
    };
    if program.slots().any(|name| name != "config_dir") {
        report.key(
            key,
            "takes its program from a placeholder",
            "write the program's name or path (`{config_dir}/…`)",
        );
        return;
    }
    let path = program.fill(|_| Some("/".to_owned())).unwrap_or_default();
    if path.contains('/') && !path.starts_with('/') {
        report.key(
            key,
            &format!("begins with the relative path {path}"),
            &format!("write `{{config_dir}}/{path}`"),
        );
    }
    let base = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if INTERPRETERS.contains(&base) {
        no_code(report, key, argv);
    }
}

/// Reports placeholders in code arguments such as `-c`. Values come from jobs and must not become code.
fn no_code(report: &mut TableReport<'_, '_>, key: &str, argv: &[Argument]) {
    let templates: Vec<&Template> = argv.iter().flat_map(Argument::templates).collect();
    let text = |template: &Template| template.fill(|_| Some(String::new())).unwrap_or_default();
    for pair in templates.windows(2) {
        let option = text(pair[0]);
        let takes_code = option.starts_with('-') && !option.starts_with("--") && option.ends_with(['c', 'e']);
        if takes_code && pair[1].slots().next().is_some() {
            let remedy = "pass the value as an argument behind it, or read it from `$FT_…`";
            report.key(key, "has a placeholder in a program's text", remedy);
        }
    }
}

fn slots(trainer: &Trainer, report: &mut TableReport<'_, '_>, key: &str, template: &Template, site: Site) {
    for name in template.slots() {
        if let Some((why, remedy)) = fault(trainer, name, site) {
            report.key(
                key,
                &format!("has the placeholder {{{name}}}, which {why}"),
                &remedy,
            );
        }
    }
}

/// Why the placeholder cannot be there, and what to write instead.
fn fault(trainer: &Trainer, name: &str, site: Site) -> Option<(&'static str, String)> {
    if is_built_in(name) && !(site.knows)(name) {
        return Some(("has no value yet when this is used", "take it out".to_owned()));
    }
    let may_be_absent = SOMETIMES.contains(&name) || !is_known(name, trainer);
    if !may_be_absent || (site.optional && is_built_in(name)) {
        return None;
    }
    let built_in = placeholders::ALWAYS.iter().chain(&SOMETIMES).copied();
    let remedy = nearest(name, built_in);
    // Short names resemble too many others.
    let is_slip = name.len() > 2 && remedy.starts_with("did you mean") && !is_built_in(name);
    if site.optional {
        let is_unlisted = is_slip && !trainer.keys.iter().any(|key| key == name);
        return is_unlisted.then(|| {
            let remedy = format!("{remedy} If it is a key of `train`, list it in `keys`");
            ("is unknown", remedy)
        });
    }
    if is_slip {
        return Some(("is unknown", remedy));
    }
    let remedy = "put it with its option into a list of its own, `[\"--option\", \"{…}\"]`, or give it a value in `defaults`";
    Some(("may have no value", remedy.to_owned()))
}

/// Whether the placeholder is built in or has a default.
fn is_known(name: &str, trainer: &Trainer) -> bool {
    is_built_in(name) || trainer.defaults.contains_key(name)
}
