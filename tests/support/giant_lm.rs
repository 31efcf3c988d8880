//! `tests/support/giant_lm.py` as a process: an LM server whose answers are as long as the question asks for. And what a process takes to
//! read them.

use super::binary::clean;
use super::python_server::PythonServer;
use super::{Folder, JobFile, Running};
use std::path::Path;
use std::process::Command;

/// The server; it ends with the test.
pub(crate) struct GiantLm(PythonServer);

impl GiantLm {
    /// It answers nothing before that many requests have arrived.
    pub(crate) fn start(together: usize) -> GiantLm {
        GiantLm(PythonServer::start("tests/support/giant_lm.py", |command| {
            command.args(["--together", &together.to_string()]);
        }))
    }

    /// Puts a job of these predictors, in TOML, into the folder, an example with a short answer, which opens the way for the others, and
    /// one for each of these answers (`KIND:BYTES`).
    pub(crate) fn write_job(&self, folder: &Folder, predictors: &str, answers: &[String]) {
        let mut job = JobFile::at(&self.0.base());
        // All of them are in flight at once.
        let concurrent = answers.len();
        job.teacher.push_str(&format!(
            "\naccount = \"all\"\n[account.all]\nconcurrent = {concurrent}"
        ));
        job.metric = String::new();
        let toml = job.to_toml();
        let (head, rest) = toml.split_once("[[program.predictors]]").unwrap();
        let (_, tail) = rest.split_once("[lm.teacher]").unwrap();
        let head = head.replace("\"question\"", "\"text\"");
        folder.write("job.toml", format!("{head}{predictors}[lm.teacher]{tail}"));
        let row = |(number, answer)| format!("{{\"text\": \"{number} GIANT:{answer}\"}}\n");
        let rows = answers.iter().enumerate().map(row);
        let short = "{\"text\": \"short\"}\n".to_owned();
        folder.write("train.jsonl", short + &rows.collect::<String>());
    }
}

/// A predictor with this signature.
pub(crate) fn predictor(name: &str, signature: &str) -> String {
    format!("[[program.predictors]]\nname = \"{name}\"\nmodule = \"Predict\"\nsignature = \"{signature}\"\n")
}

/// Starts the program in the folder, in which [`peak_memory`] finds later how much it took.
pub(crate) fn start_measured(
    folder: &Folder,
    program: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Running {
    let mut command = clean(Command::new("python3"));
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/peak_memory.py"))
        .args([MEASURED, program])
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(folder.path("."));
    Running::start(command)
}

/// The most memory in MiB that the measured process has taken, which has ended.
pub(crate) fn peak_memory(folder: &Folder) -> u64 {
    let kib: u64 = folder.read(MEASURED).parse().unwrap();
    kib >> 10
}

const MEASURED: &str = "peak.txt";
