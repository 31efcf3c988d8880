//! From the `--trainers` file to [`Trainers`]: all problems at once, each with its line and what to write instead.

use super::entry_digest::digest;
use super::entry_tables::{TableReport, defaults, files, named, progress, result, serve_rule};
use super::placeholder_check::check;
use super::template::placeholders::{self, is_train_key};
use super::template::{Template, is_name};
use super::trainers::{
    AT_ONCE, Argument, DEFAULT_SILENCE, DEFAULT_TIMEOUT, ServeHow, TAKE_OVER, TrainFormat, Trainer, Trainers,
};
use super::trainers_file_keys::{TrainerTable, TrainersTable};
use super::work_dir::DEFAULT_GRACE;
use crate::schema::definition::{Table as _, TableDefinition};
use crate::schema::form::Read;
use crate::schema::{Problems, Section, document};
use indexmap::IndexMap;
use std::path::Path;
use std::sync::Arc;

/// The keys that a model depends on, beside the job's own.
const MAKES_THE_MODEL: [&str; 7] = [
    "argv",
    "env",
    "defaults",
    "keys",
    "train_format",
    "files",
    "measure",
];

/// The keys of the trainers file.
pub(crate) fn trainers_definition() -> TableDefinition {
    TrainersTable::definition()
}

/// The problems of the keys and values of a document, without what holds between them.
#[cfg(test)]
pub(crate) fn problems_of_trainers(file: &Path, node: &document::Node) -> Problems {
    let mut problems = Problems::default();
    if let Some(root) = Section::root(file, node, &mut problems) {
        TrainersTable::read(&root, &mut problems);
    }
    problems
}

impl Trainers {
    /// Reads a `--trainers` file; reports all problems together.
    pub fn read(path: &Path) -> Result<Trainers, Problems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let mut problems = Problems::default();
            let remedy = "give the path of a trainers file in UTF-8";
            problems.add(path, None, format!("the file cannot be read: {error}"), remedy);
            problems
        })?;
        let folder = std::path::absolute(path).ok();
        let folder = folder.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
        read(&text, path, folder)
    }
}

/// Reads the text of `file`, which lies in `folder`.
fn read(text: &str, file: &Path, folder: &Path) -> Result<Trainers, Problems> {
    let node = document::parse(file, text)?;
    let mut problems = Problems::default();
    let trainers = Section::root(file, &node, &mut problems).map(|root| {
        let table = TrainersTable::read(&root, &mut problems);
        trainers(table, file, folder, &mut problems)
    });
    problems.or(trainers)
}

fn trainers(table: TrainersTable<'_>, file: &Path, folder: &Path, problems: &mut Problems) -> Trainers {
    let given_dir = table.dir.map(|dir| folder.join(dir.value));
    let mut trainers = IndexMap::new();
    for entry in table.trainer.map(|entries| entries.value).unwrap_or_default() {
        let name = entry.name;
        if name.is_empty() || name.contains(|c: char| c.is_control() || c.is_whitespace()) {
            entry.item.place.report(
                problems,
                format!("`{}` is not a name", entry.item.name),
                "write a name without spaces, which the job file repeats as `trainer = \"…\"`",
            );
        }
        if let Some(table) = entry.value {
            trainers.insert(name.to_owned(), trainer(table, folder, problems));
        }
    }
    if trainers.is_empty() && problems.is_empty() {
        problems.add(
            file,
            None,
            "there is no trainer",
            "write [trainer.NAME] with `argv = [\"…\"]`",
        );
    }
    let dir = given_dir.clone().unwrap_or_else(|| folder.join("trainings"));
    Trainers {
        given_dir,
        file: file.to_owned(),
        dir,
        at_once: table.at_once.map_or(AT_ONCE, |count| count.value),
        take_over: table.take_over_secs.map_or(TAKE_OVER, |secs| secs.value),
        trainers,
        tasks: Arc::default(),
    }
}

fn trainer(table: TrainerTable<'_>, folder: &Path, problems: &mut Problems) -> Trainer {
    let mut found = Problems::default();
    let mut report = TableReport::new(&table.section, &mut found);
    let texts = |list: Option<Read<'_, Vec<Read<'_, &str>>>>| -> Option<Vec<String>> {
        Some(list?.value.iter().map(|text| text.value.to_owned()).collect())
    };
    let is_whole = table.argv.is_some();
    let argv = |command: Option<Read<'_, Vec<Argument>>>| command.map(|c| c.value).unwrap_or_default();
    let trainer = Trainer {
        argv: argv(table.argv),
        env: named(table.env),
        pass_env: texts(table.pass_env).unwrap_or_default(),
        defaults: defaults(table.defaults.as_ref(), &mut report),
        keys: texts(table.keys).unwrap_or_default(),
        train_format: table
            .train_format
            .map_or(TrainFormat::PromptCompletion, |format| format.value),
        files: files(table.files, &mut report),
        result: result(table.result, &mut report),
        model: table.model.map_or_else(default_model, |model| model.value),
        progress: progress(table.progress, &mut report),
        measure: argv(table.measure),
        check: argv(table.check),
        upload: argv(table.upload),
        serve: table.serve.and_then(|serve| serve_rule(serve, &mut report)),
        grace: table
            .cancel
            .and_then(|cancel| cancel.value.grace_secs)
            .map_or(DEFAULT_GRACE, |secs| secs.value),
        timeout: table.timeout_secs.map_or(DEFAULT_TIMEOUT, |secs| secs.value),
        silence: table.silence_secs.map_or(DEFAULT_SILENCE, |secs| secs.value),
        base_models: texts(table.base_models),
        definition: digest(&table.section, &MAKES_THE_MODEL),
        config_dir: folder.to_owned(),
    };
    for key in trainer
        .keys
        .iter()
        .filter(|key| !is_name(key) || !is_train_key(key))
    {
        report.key(
            "keys",
            &format!("has `{key}`, which cannot be a key of `train`"),
            "take it out",
        );
    }
    let passed = trainer.pass_env.iter().map(|name| ("pass_env", name));
    for (key, name) in passed.chain(trainer.env.keys().map(|name| ("env", name))) {
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("has `{name}`, which is not the name of a variable");
            report.key(key, &message, "write a name such as `HF_TOKEN`");
        } else if name.starts_with("FT_") {
            let message = format!("has `{name}`: bsft sets the variables that begin with FT_");
            report.key(key, &message, "use another name");
        }
    }
    // Placeholders of a table that could not be read whole would be reported wrongly.
    if is_whole && found.is_empty() && problems.is_empty() {
        let mut report = TableReport::new(&table.section, &mut found);
        check(&trainer, &mut report);
    }
    problems.0.append(&mut found.0);
    trainer
}

fn default_model() -> Template {
    Template::parse("openai/{artefact}").unwrap_or_default()
}

/// All placeholders that `trainer` has for keys of `train`, and the keys that it names otherwise.
pub(super) fn train_keys(trainer: &Trainer) -> Vec<&str> {
    let serve = trainer.serve.as_ref();
    let served = serve.into_iter().flat_map(|serve| match &serve.how {
        ServeHow::Command(argv) => argv.as_slice(),
        ServeHow::Post { .. } | ServeHow::Wait => &[],
    });
    let commands = [&trainer.argv, &trainer.measure, &trainer.upload];
    let in_commands = commands
        .into_iter()
        .flatten()
        .chain(served)
        .flat_map(Argument::templates);
    let elsewhere = trainer.env.values().chain(trainer.files.values().flatten());
    let slots = in_commands.chain(elsewhere).flat_map(|template| template.slots());
    let named = trainer.defaults.keys().chain(&trainer.keys).map(String::as_str);
    let mut keys: Vec<&str> = slots.chain(named).filter(|name| is_train_key(name)).collect();
    // The file of all values contains the length, too.
    if reads_hyperparams(trainer) {
        keys.extend(placeholders::GIVEN_BY_TRAIN);
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn reads_hyperparams(trainer: &Trainer) -> bool {
    let templates = trainer.argv.iter().flat_map(Argument::templates);
    let mut templates = templates
        .chain(trainer.env.values())
        .chain(trainer.files.values().flatten());
    templates.any(|template| template.slots().any(|name| name == "hyperparams_file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, folder: &str) -> Result<Trainers, Problems> {
        read(text, Path::new("trainers.toml"), Path::new(folder))
    }

    fn problems(entry: &str) -> Vec<String> {
        let read = read_text(&format!("[trainer.t]\n{entry}"), "/etc/bsft");
        let problems = read.map(|_| ()).err().unwrap_or_default();
        problems.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn trainer_needs_only_argv() {
        let trainers = read_text("[trainer.t]\nargv = ['train']", "/etc/bsft").unwrap();
        assert_eq!(trainers.names().collect::<Vec<_>>(), ["t"]);
        assert_eq!(trainers.dir(), Path::new("/etc/bsft/trainings"));
        let elsewhere = trainers.default_dir(Path::new("/run/dir/trainings"));
        assert_eq!(elsewhere.dir(), Path::new("/run/dir/trainings"));
    }

    #[test]
    fn dir_in_the_file_overrides_the_default() {
        let trainers = read_text("dir = 'there'\n[trainer.t]\nargv = ['train']", "/etc/bsft").unwrap();
        assert_eq!(
            trainers.default_dir(Path::new("/x")).dir(),
            Path::new("/etc/bsft/there")
        );
    }

    #[test]
    fn trainers_file_reports_all_problems_with_lines_and_nearest_keys() {
        let found = problems(
            "argv = 'train me'\ntrain_fromat = 'messages'\ntimeout_secs = 0\nresult = { any_of = ['../x'] }",
        );
        let text = found.join("\n");
        for part in [
            "trainers.toml:2: `trainer.t.argv` is a string, not a list\n  = help: write `argv = [",
            "trainers.toml:3: unknown key `train_fromat` in [trainer.t]\n  = help: did you mean `train_format`?",
            "trainers.toml:4: `trainer.t.timeout_secs` is 0\n  = help: write a number of seconds above 0",
            "trainers.toml:5: `trainer.t.result.any_of` leads out of the output folder",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn placeholder_without_a_sure_value_needs_a_list_of_its_own() {
        for (entry, part) in [
            ("argv = ['t', '{train_fiel}']", "did you mean `train_file`?"),
            ("argv = ['t', '{rank}']", "a list of its own"),
            ("argv = ['t', '--resume', '{resume_dir}']", "a list of its own"),
            ("argv = ['t', ['{train_fiel}']]", "did you mean `train_file`?"),
            ("argv = ['t', '{artefact}']", "no value yet"),
            ("argv = ['t']\nmeasure = ['m', '{max_length}']", "no value yet"),
            ("argv = ['t']\nmodel = 'openai/{rank}'", "may have no value"),
            (
                "argv = ['t']\nfiles = { 'c.yaml' = 'seed: {sed}' }",
                "did you mean `seed`?",
            ),
        ] {
            let found = problems(entry).join("\n");
            assert!(found.contains(part), "{entry}\n{found}");
        }
        for entry in [
            "argv = ['t', ['--rank', '{rank}'], ['--resume', '{resume_dir}']]",
            "argv = ['t', '{rank}']\ndefaults = { rank = 8 }",
            "argv = ['t']\nfiles = { 'c.yaml' = 'rank: {rank}' }",
            "argv = ['t', ['{sed}']]\nkeys = ['sed']",
            "argv = ['t']\nmodel = 'openai/{name}'\nserve = { post = 'http://h/{name}', body = { p = '{artefact}' } }",
        ] {
            assert_eq!(problems(entry), Vec::<String>::new(), "{entry}");
        }
    }

    #[test]
    fn argv_without_a_fixed_program_is_refused() {
        for entry in [
            "argv = ['sh', '-c', 'train {lr}']\ndefaults = { lr = 1 }",
            "argv = ['/usr/bin/python3.11', '-c', ['train({name})']]",
            "argv = ['{base_model}']",
            "argv = [['train']]",
            "argv = ['./train.sh']",
        ] {
            assert_eq!(problems(entry).len(), 1, "{entry}");
        }
        assert_eq!(
            problems("argv = ['sh', '-c', 'train \"$1\"', 'sh', '{name}']"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn train_keys_are_those_that_reach_the_command() {
        let text = "[trainer.t]\nargv = ['t', '{base_model}', ['{a}'], '{max_length}']\ndefaults = { b = 1 }\nkeys = ['c']\n\
                    env = { D = '{d}' }\nfiles = { f = 'e: {e}' }\nupload = ['u', ['{g}']]";
        let trainers = read_text(text, "/").unwrap();
        assert_eq!(
            train_keys(&trainers.trainers["t"]),
            ["a", "b", "c", "d", "e", "g", "max_length"]
        );
    }
}
