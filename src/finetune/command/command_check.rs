//! Whether the commands of a trainer can be filled in, whatever a job says: every placeholder has a value or may be left out.

use super::config::{Argument, BodyValue, ServeHow, Trainer};
use super::placeholders::{self, ARTEFACT, SOMETIMES, is_built_in};
use super::table::Table;
use super::template::Template;
use super::values::is_known;
use crate::schema::nearest;

/// Interpreters that take an argument for a program.
const INTERPRETERS: [&str; 9] = [
    "sh", "bash", "dash", "zsh", "ksh", "python", "perl", "ruby", "node",
];

/// What a placeholder may stand in.
#[derive(Clone, Copy)]
struct Site {
    /// Whether it may be without a value here.
    optional: bool,
    /// Whether this built-in is known by then.
    knows: fn(&str) -> bool,
}

/// Reports what is wrong with the placeholders of `trainer`.
pub(super) fn check(trainer: &Trainer, table: &mut Table<'_, '_>) {
    let training = |name: &str| name != ARTEFACT;
    command(trainer, table, "argv", &trainer.argv, training);
    command(trainer, table, "upload", &trainer.upload, training);
    command(
        trainer,
        table,
        "measure",
        &trainer.measure,
        placeholders::is_known_to_measure,
    );
    let check = |name: &str| placeholders::BEFORE_ROWS.contains(&name);
    command(trainer, table, "check", &trainer.check, check);
    let dropped = Site {
        optional: true,
        knows: training,
    };
    for (name, template) in &trainer.env {
        slots(trainer, table, &format!("env.{name}"), template, dropped);
    }
    for (name, lines) in &trainer.files {
        for line in lines {
            slots(trainer, table, &format!("files.{name}"), line, dropped);
        }
    }
    let after = Site {
        optional: false,
        knows: |_| true,
    };
    slots(trainer, table, "model", &trainer.model, after);
    let Some(serve) = &trainer.serve else { return };
    match &serve.how {
        ServeHow::Command(argv) => command(trainer, table, "serve.argv", argv, after.knows),
        ServeHow::Post { url, body, .. } => {
            slots(trainer, table, "serve.post", url, after);
            for (name, value) in body {
                if let BodyValue::Text(template) = value {
                    slots(trainer, table, &format!("serve.body.{name}"), template, after);
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
            slots(trainer, table, key, template, after);
        }
    }
}

fn command(
    trainer: &Trainer,
    table: &mut Table<'_, '_>,
    key: &str,
    argv: &[Argument],
    knows: fn(&str) -> bool,
) {
    for argument in argv {
        let optional = matches!(argument, Argument::Optional(_));
        for template in argument.templates() {
            slots(trainer, table, key, template, Site { optional, knows });
        }
    }
    let Some(Argument::Always(program)) = argv.first() else {
        if !argv.is_empty() {
            table.report_key(key, "begins with a list: write the program itself first");
        }
        return;
    };
    if program.slots().any(|name| name != "config_dir") {
        table.report_key(
            key,
            "takes its program from a placeholder: write the program's name or path (`{config_dir}/…`)",
        );
        return;
    }
    let path = program.fill(|_| Some("/".to_owned())).unwrap_or_default();
    if path.contains('/') && !path.starts_with('/') {
        table.report_key(
            key,
            &format!("begins with the relative path {path}: write `{{config_dir}}/{path}`"),
        );
    }
    let base = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if INTERPRETERS.contains(&base) {
        no_code(table, key, argv);
    }
}

/// Values come from jobs: they must not become part of a program's text.
fn no_code(table: &mut Table<'_, '_>, key: &str, argv: &[Argument]) {
    let templates: Vec<&Template> = argv.iter().flat_map(Argument::templates).collect();
    let text = |template: &Template| template.fill(|_| Some(String::new())).unwrap_or_default();
    for pair in templates.windows(2) {
        let option = text(pair[0]);
        let takes_code = option.starts_with('-') && !option.starts_with("--") && option.ends_with(['c', 'e']);
        if takes_code && pair[1].slots().next().is_some() {
            let remedy = "has a placeholder in a program's text: pass the value as an argument behind it, or read it from `$FT_…`";
            table.report_key(key, remedy);
        }
    }
}

fn slots(trainer: &Trainer, table: &mut Table<'_, '_>, key: &str, template: &Template, site: Site) {
    for name in template.slots() {
        if let Some(why) = fault(trainer, name, site) {
            table.report_key(key, &format!("has the placeholder {{{name}}}{why}"));
        }
    }
}

fn fault(trainer: &Trainer, name: &str, site: Site) -> Option<String> {
    if is_built_in(name) && !(site.knows)(name) {
        return Some(", which has no value yet when this is used: take it out".to_owned());
    }
    let may_be_absent = SOMETIMES.contains(&name) || !is_known(name, trainer);
    if !may_be_absent || (site.optional && is_built_in(name)) {
        return None;
    }
    let built_in = placeholders::ALWAYS.iter().chain(&SOMETIMES).copied();
    let remedy = nearest(name, built_in);
    // Short names are near to anything.
    let is_slip = name.len() > 2 && remedy.starts_with("did you mean") && !is_built_in(name);
    match site.optional {
        true if is_slip && !trainer.keys.iter().any(|key| key == name) => {
            Some(format!(", which is nothing that is known: {remedy} If it is a key of `train`, list it in `keys`"))
        }
        true => None,
        false if is_slip => Some(format!(", which is nothing that is known: {remedy}")),
        false => Some(
            ", which may have no value: put it with its option into a list of its own, `[\"--option\", \"{…}\"]`, \
             or give it a value in `defaults`"
                .to_owned(),
        ),
    }
}
