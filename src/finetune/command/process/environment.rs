//! The environment and the arguments of a trainer's commands. Variables of the worker are passed from an allow-list only.

use crate::finetune::command::template::plain;
use crate::finetune::command::template::values::Values;
use crate::finetune::command::trainers::{Argument, Trainer};
use crate::finetune::command::work_dir::WorkDir;
use crate::secret::{Secret, SecretError};
use serde_json::Value as Json;
use std::ffi::OsString;

/// Variables of the worker that every trainer gets. None of them contains a secret.
pub(crate) const ALWAYS_PASSED: [&str; 36] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYTHONPATH",
    "PYTHONHOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "XDG_CACHE_HOME",
    "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_HOME",
    "CUDA_PATH",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_DATASETS_CACHE",
    "HF_DATASETS_OFFLINE",
    "HF_ENDPOINT",
    "TRANSFORMERS_OFFLINE",
];

/// The variable with a training's folder, which identifies the processes of the training.
pub(crate) const WORK_DIR_VARIABLE: &str = "FT_WORK_DIR";

/// Variables that bsft sets, each with the placeholder that has the same value.
const FT_VARIABLES: [(&str, &str); 17] = [
    ("FT_JOB_KEY", "key"),
    ("FT_NAME", "name"),
    ("FT_BASE_MODEL", "base_model"),
    ("FT_TRAIN_FILE", "train_file"),
    ("FT_TRAIN_DIR", "train_dir"),
    ("FT_VAL_FILE", "validation_file"),
    ("FT_VAL_DIR", "validation_dir"),
    ("FT_OUTPUT_DIR", "output_dir"),
    (WORK_DIR_VARIABLE, "work_dir"),
    ("FT_HYPERPARAMS", "hyperparams_file"),
    ("FT_PROGRESS_FILE", "progress_file"),
    ("FT_RESULT_FILE", "result_file"),
    ("FT_RESUME_DIR", "resume_dir"),
    ("FT_SEED", "seed"),
    ("FT_MAX_LENGTH", "max_length"),
    ("FT_ROWS", "rows"),
    ("FT_ARTEFACT", "artefact"),
];

/// All variables of a trainer's command.
pub(crate) fn variables(trainer: &Trainer, values: &Values) -> Vec<(OsString, OsString)> {
    let always = ALWAYS_PASSED
        .into_iter()
        .filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    let named = trainer.pass_env.iter();
    let named = named.filter_map(|name| Some((name.into(), passed(trainer, name)?)));
    let mut all: Vec<(OsString, OsString)> = always.chain(named).collect();
    let value_of = |name: &str| values.get(name).map(plain);
    for (name, template) in &trainer.env {
        all.extend(template.fill(value_of).map(|value| (name.into(), value.into())));
    }
    for (name, placeholder) in FT_VARIABLES {
        all.extend(value_of(placeholder).map(|value| (name.into(), value.into())));
    }
    all
}

/// The value of a variable of `pass_env`: that of the worker, or the content of the file that `NAME_FILE` names.
fn passed(trainer: &Trainer, name: &str) -> Option<OsString> {
    std::env::var_os(name).or_else(|| {
        let secret = from_file(trainer, name).ok()??;
        Some(secret.reveal().into())
    })
}

/// The secret in the file of a variable of `pass_env`. `None` for a trainer that is given the file's name and reads it itself.
fn from_file(trainer: &Trainer, name: &str) -> Result<Option<Secret>, SecretError> {
    let file = format!("{name}_FILE");
    if trainer.pass_env.contains(&file) || std::env::var_os(&file).is_none() {
        return Ok(None);
    }
    Secret::read(name)
}

/// Why variables of `pass_env` cannot be passed.
pub(crate) fn unreadable(trainer: &Trainer) -> impl Iterator<Item = SecretError> {
    let named = trainer.pass_env.iter();
    named.filter_map(|name| from_file(trainer, name).err())
}

/// All variables of the trainer itself, with the number of the attempt.
pub(crate) fn attempt_variables(
    trainer: &Trainer,
    values: &Values,
    attempt: u32,
) -> Vec<(OsString, OsString)> {
    let mut all = variables(trainer, values);
    all.push(("FT_ATTEMPT".into(), attempt.to_string().into()));
    all
}

/// Replaces the values of `pass_env` and `env` in `text` with the variables' names: they may be secrets.
pub(crate) fn without_secrets(trainer: &Trainer, mut text: String) -> String {
    /// Shorter values, such as `1`, are no secrets and occur in ordinary text.
    const MIN_SECRET_BYTES: usize = 8;
    let named = trainer.pass_env.iter();
    let named = named.filter_map(|name| Some((name, passed(trainer, name)?.into_string().ok()?)));
    let given = trainer
        .env
        .iter()
        .filter_map(|(name, template)| Some((name, template.fill(|_| None)?)));
    for (name, value) in named.chain(given) {
        if value.len() >= MIN_SECRET_BYTES {
            text = text.replace(&value, &format!("[{name}]"));
        }
    }
    text
}

/// Fills the placeholders of a command. Arguments with a placeholder that has no value are omitted.
pub(crate) fn arguments(argv: &[Argument], values: &Values) -> Vec<String> {
    let value_of = |name: &str| values.get(name).filter(|value| !value.is_null()).map(plain);
    let filled = argv.iter().flat_map(|argument| {
        let all: Option<Vec<String>> = argument.templates().iter().map(|t| t.fill(value_of)).collect();
        all.unwrap_or_default()
    });
    filled.collect()
}

/// Sets the placeholders that are paths in a training's folder.
pub(crate) fn set_paths(values: &mut Values, work: &WorkDir, has_validation: bool) {
    let mut set = |name: &str, file: &str| values.set(name, Json::from(work.path(file).to_string_lossy()));
    set("train_dir", "train");
    set("train_file", "train/train.jsonl");
    if has_validation {
        set("validation_dir", "validation");
        set("validation_file", "validation/validation.jsonl");
    }
    set("hyperparams_file", "hyperparams.json");
    set("progress_file", "progress.jsonl");
    set("result_file", "result.json");
    set("measure_script", "measure.py");
    values.set("work_dir", work.root().to_string_lossy());
}
