//! From the `--trainers` file to [`Trainers`]: everything that is wrong is said, each with its key and what to write instead.

use super::config::{
    AT_ONCE, Argument, DEFAULT_SILENCE, DEFAULT_TIMEOUT, ServeHow, TAKE_OVER, Trainer, Trainers,
};
use super::parts::{defaults, files, grace, progress, result, serve, train_format};
use super::table::Table;
use super::template::check;
use super::template::is_name;
use super::template::placeholders::{self, is_train_key};
use indexmap::IndexMap;
use std::path::Path;
use std::sync::Arc;

const KEYS: [&str; 19] = [
    "argv",
    "env",
    "pass_env",
    "defaults",
    "keys",
    "train_format",
    "files",
    "result",
    "model",
    "progress",
    "measure",
    "check",
    "upload",
    "serve",
    "cancel",
    "timeout_secs",
    "silence_secs",
    "base_models",
    "description",
];

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

/// Reads the text of a file that lies in `folder`.
pub(super) fn read(text: &str, folder: &Path) -> Result<Trainers, Vec<String>> {
    let root: toml::Table = match toml::from_str(text) {
        Ok(root) => root,
        Err(error) => return Err(vec![error.to_string().trim_end().to_owned()]),
    };
    let mut problems = Vec::new();
    let mut root = Table::new(String::new(), &root, &mut problems);
    root.only(&["dir", "at_once", "take_over_secs", "trainer"]);
    let given_dir = root.text("dir").map(|dir| folder.join(dir));
    let at_once = root.count("at_once").unwrap_or(AT_ONCE);
    let take_over = root.seconds("take_over_secs").unwrap_or(TAKE_OVER);
    let mut trainers = IndexMap::new();
    root.each_table("trainer", |name, table| {
        if name.is_empty() || name.contains(|c: char| c.is_control() || c.is_whitespace()) {
            table.report("is not a name: write a word, as `trainer = \"…\"` in the job file will");
        }
        if let Some(trainer) = trainer(table, folder) {
            trainers.insert(name.to_owned(), trainer);
        }
    });
    if trainers.is_empty() && problems.is_empty() {
        problems.push("there is no trainer: write [trainer.NAME] with `argv = [\"…\"]`".to_owned());
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let dir = given_dir.clone().unwrap_or_else(|| folder.join("trainings"));
    Ok(Trainers {
        given_dir,
        file: Path::new("").to_owned(),
        dir,
        at_once,
        take_over,
        trainers,
        tasks: Arc::default(),
    })
}

fn trainer(table: &mut Table<'_, '_>, folder: &Path) -> Option<Trainer> {
    table.only(&KEYS);
    let before = table.problem_count();
    // For people who read the file.
    table.text("description");
    let argv = table.arguments("argv");
    if argv.is_empty() {
        table.report_key(
            "argv",
            "is missing: write the command that trains, `argv = [\"python\", …]`",
        );
    }
    let trainer = Trainer {
        argv,
        env: table.templates("env"),
        pass_env: table.texts("pass_env").unwrap_or_default(),
        defaults: defaults(table),
        keys: table.texts("keys").unwrap_or_default(),
        train_format: train_format(table),
        files: files(table),
        result: result(table),
        model: table.template_or("model", "openai/{artefact}"),
        progress: progress(table),
        measure: table.arguments("measure"),
        check: table.arguments("check"),
        upload: table.arguments("upload"),
        serve: serve(table),
        grace: grace(table),
        timeout: table.seconds("timeout_secs").unwrap_or(DEFAULT_TIMEOUT),
        silence: table.seconds("silence_secs").unwrap_or(DEFAULT_SILENCE),
        base_models: table.texts("base_models"),
        definition: table.digest(&MAKES_THE_MODEL),
        config_dir: folder.to_owned(),
    };
    for key in &trainer.keys {
        if !is_name(key) || !is_train_key(key) {
            table.report_key(
                "keys",
                &format!("has `{key}`, which cannot be a key of `train`: take it out"),
            );
        }
    }
    for name in trainer.pass_env.iter().chain(trainer.env.keys()) {
        if name.is_empty() || name.contains(['=', '\0']) {
            table.report_key(
                "env",
                &format!("has `{name}`, which is not the name of a variable"),
            );
        } else if name.starts_with("FT_") {
            table.report_key(
                "env",
                &format!("has `{name}`: variables with FT_ are set by bsft, name it otherwise"),
            );
        }
    }
    if table.problem_count() == before {
        check::check(&trainer, table);
    }
    (table.problem_count() == before).then_some(trainer)
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
    // Whoever reads the file of all values is told the length, too.
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

    fn problems(entry: &str) -> Vec<String> {
        read(&format!("[trainer.t]\n{entry}"), Path::new("/etc/bsft"))
            .map(|_| ())
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn a_trainer_needs_no_more_than_a_command() {
        let trainers = read("[trainer.t]\nargv = ['train']", Path::new("/etc/bsft")).unwrap();
        assert_eq!(trainers.names().collect::<Vec<_>>(), ["t"]);
        assert_eq!(trainers.dir(), Path::new("/etc/bsft/trainings"));
        let elsewhere = trainers.default_dir(Path::new("/run/dir/trainings"));
        assert_eq!(elsewhere.dir(), Path::new("/run/dir/trainings"));
    }

    #[test]
    fn a_dir_of_the_file_wins_over_the_default() {
        let trainers = read(
            "dir = 'there'\n[trainer.t]\nargv = ['train']",
            Path::new("/etc/bsft"),
        )
        .unwrap();
        assert_eq!(
            trainers.default_dir(Path::new("/x")).dir(),
            Path::new("/etc/bsft/there")
        );
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let found = problems(
            "argv = 'train me'\ntrain_fromat = 'messages'\ntimeout_secs = 0\nresult = { any_of = ['../x'] }",
        );
        let text = found.join("\n");
        for part in [
            "`trainer.t.argv` is a string: write a list",
            "`trainer.t.train_fromat` is not a key: did you mean `train_format`?",
            "`trainer.t.timeout_secs` is 0: write a number of seconds above 0",
            "`trainer.t.result.any_of` leads out of the output folder",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_placeholder_without_a_sure_value_stands_in_a_list_of_its_own() {
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
    fn no_value_of_a_job_becomes_part_of_a_program() {
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
    fn keys_of_train_are_those_that_reach_the_command() {
        let text = "[trainer.t]\nargv = ['t', '{base_model}', ['{a}'], '{max_length}']\ndefaults = { b = 1 }\nkeys = ['c']\n\
                    env = { D = '{d}' }\nfiles = { f = 'e: {e}' }\nupload = ['u', ['{g}']]";
        let trainers = read(text, Path::new("/")).unwrap();
        assert_eq!(
            train_keys(&trainers.trainers["t"]),
            ["a", "b", "c", "d", "e", "g", "max_length"]
        );
    }
}
