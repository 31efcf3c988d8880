//! The trainers of a worker: the content of its `--trainers` file.
//!
//! ```toml
//! dir = "/var/lib/bsft/trainings"       # where trainings lie; default: `trainings` beside this file
//!
//! [trainer.trl]                          # `trainer = "trl"` in the job file
//! argv = [
//!     "python", "-m", "trl.scripts.sft",
//!     "--model_name_or_path", "{base_model}", "--dataset_name", "{train_dir}", "--output_dir", "{output_dir}",
//!     "--num_train_epochs", "{n_epochs}", "--max_length", "{max_length}",
//!     ["--warmup_ratio", "{warmup_ratio}"],             # left out as a whole where a placeholder has no value
//!     ["--resume_from_checkpoint", "{resume_dir}"],
//! ]
//! defaults = { n_epochs = 3 }            # values of train keys that the job does not give
//! ```
//!
//! More keys of an entry: `env`, `pass_env`, `keys`, `train_format`, `files`, `result`, `model`, `progress`, `measure`, `check`, `upload`,
//! `serve`, `cancel`, `timeout_secs`, `silence_secs`, `base_models`, `description`; see [`Trainer`]'s fields.
//!
//! Nothing here is ever parsed by a shell. A value replaces its placeholder within one argument, or as a JSON value in a file.

use super::background_tasks::Tasks;
use super::template::Template;
use indexmap::IndexMap;
use regex::Regex;
use serde_json::{Map, Value as Json};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The trainers of a worker, by name.
#[derive(Clone)]
pub struct Trainers {
    /// `dir`, where the file gives one. Relative: to the file.
    pub(super) given_dir: Option<PathBuf>,
    /// The file, as it was named.
    pub(super) file: PathBuf,
    /// Where trainings lie.
    pub(super) dir: PathBuf,
    /// The maximum number of trainings at a time.
    pub(super) at_once: NonZeroUsize,
    /// The time without supervision after which a training of another machine is restarted on this one.
    pub(super) take_over: Duration,
    /// `[trainer.NAME]`.
    pub(super) trainers: IndexMap<String, Trainer>,
    /// The tasks that run beside the polls.
    pub(super) tasks: Arc<Tasks>,
}

impl Trainers {
    /// Returns the trainers with the folder of trainings in `dir`, unless the file names one.
    #[must_use]
    pub fn default_dir(self, dir: &Path) -> Trainers {
        let default = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        Trainers {
            dir: self.given_dir.clone().unwrap_or(default),
            ..self
        }
    }

    /// The file, as it was named.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The maximum number of trainings at a time: they share the machine's accelerators and its memory.
    pub fn at_once(&self) -> usize {
        self.at_once.get()
    }

    /// The time without supervision after which a training of another machine is restarted on this one.
    pub fn take_over(&self) -> Duration {
        self.take_over
    }

    /// Where trainings lie, a folder for each.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The names of the trainers without `base_models`: they train any model that a job names.
    pub fn without_base_models(&self) -> impl Iterator<Item = &str> {
        let unlimited = self.trainers.iter();
        let unlimited = unlimited.filter(|(_, trainer)| trainer.base_models.is_none());
        unlimited.map(|(name, _)| name.as_str())
    }

    /// The names that a job may give, in the file's order.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.trainers.keys().map(String::as_str)
    }
}

/// Without what trainers are given: there may be secrets among their variables.
impl fmt::Debug for Trainers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names().collect();
        f.debug_struct("Trainers")
            .field("dir", &self.dir)
            .field("names", &names)
            .finish_non_exhaustive()
    }
}

/// `[trainer.NAME]`: a command that trains, and all around it.
#[derive(Clone)]
pub(super) struct Trainer {
    /// The command that trains.
    pub(super) argv: Vec<Argument>,
    /// Variables that it is given. One whose placeholder has no value is left out.
    pub(super) env: IndexMap<String, Template>,
    /// Variables of the worker that it is given beside `environment::ALWAYS_PASSED`.
    pub(super) pass_env: Vec<String>,
    /// Values of train keys that the job does not give.
    pub(super) defaults: Map<String, Json>,
    /// Train keys without a placeholder, which the command reads from `{hyperparams_file}`.
    pub(super) keys: Vec<String>,
    /// How rows are written.
    pub(super) train_format: TrainFormat,
    /// Files that are written into the work folder: name and lines. A line whose placeholder has no value is left out.
    pub(super) files: IndexMap<String, Vec<Template>>,
    /// When a training that ended well has a result.
    pub(super) result: ResultRule,
    /// The new model's name.
    pub(super) model: Template,
    /// How its progress is known.
    pub(super) progress: ProgressRule,
    /// The command that counts tokens: prints `{"rows", "longest", "lengths", "limit"}` as its last line.
    pub(super) measure: Vec<Argument>,
    /// The command that succeeds where the trainer could run, such as `python -c "import trl"`.
    pub(super) check: Vec<Argument>,
    /// The command that uploads the result. Its last line of output is the location.
    pub(super) upload: Vec<Argument>,
    /// What makes a server answer for the new model.
    pub(super) serve: Option<Serve>,
    /// How long a trainer has between TERM and KILL.
    pub(super) grace: Duration,
    /// How long one attempt may take.
    pub(super) timeout: Duration,
    /// The longest silence of the trainer before it is stopped.
    pub(super) silence: Duration,
    /// The models that may be trained, `*` at the end standing for anything; none: any.
    pub(super) base_models: Option<Vec<String>>,
    /// A digest of the settings that a model depends on.
    pub(super) definition: String,
    /// The folder of the `--trainers` file: `{config_dir}`.
    pub(super) config_dir: PathBuf,
}

/// The default number of trainings at once: each takes the whole machine.
pub(super) const AT_ONCE: NonZeroUsize = NonZeroUsize::MIN;

/// The default time without supervision before a takeover: longer than a machine takes to restart.
pub(super) const TAKE_OVER: Duration = Duration::from_secs(600);

/// The default time limit of one attempt: longer than a training that one machine should run unattended.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The default limit of silence: longer than a trainer takes to download and load a large model.
pub(super) const DEFAULT_SILENCE: Duration = Duration::from_secs(2 * 3600);

/// One or more arguments of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// Always there.
    Always(Template),
    /// Left out together where one of their placeholders has no value.
    Optional(Vec<Template>),
}

impl Argument {
    pub(super) fn templates(&self) -> &[Template] {
        match self {
            Argument::Always(one) => std::slice::from_ref(one),
            Argument::Optional(all) => all,
        }
    }
}

/// How training rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrainFormat {
    /// `{"messages": […]}`, as DSPy writes them.
    Messages,
    /// `{"prompt": [messages], "completion": [the last message]}`: trainers then learn the answer only, whatever the chat template.
    PromptCompletion,
}

/// When a training that ended well has a result.
#[derive(Clone, Debug)]
pub(super) struct ResultRule {
    /// One of these files is in the output folder, with something in it; none named: the result file names the model.
    pub(super) any_of: Vec<String>,
    /// Whether a trainer may end before its last epoch by its own choice.
    pub(super) may_stop_early: bool,
}

/// How progress is known, beside `{progress_file}`.
#[derive(Clone, Debug)]
pub(super) struct ProgressRule {
    /// Looked for in each line of stdout; groups `step`, `total_steps`, `epoch`, `loss`, `percent`.
    pub(super) patterns: Vec<Regex>,
    /// A file of the output folder to which the trainer adds JSON lines.
    pub(super) jsonl: Option<String>,
}

/// What makes a server answer for the new model.
#[derive(Clone, Debug)]
pub(super) struct Serve {
    /// What is done.
    pub(super) how: ServeHow,
    /// Asked until it answers 200.
    pub(super) ready_url: Option<Template>,
    /// For how long.
    pub(super) ready_timeout: Duration,
    /// Where the model is served; none: where the student's LM is.
    pub(super) api_base: Option<Template>,
}

/// How the server learns about the new model.
#[derive(Clone, Debug)]
pub(super) enum ServeHow {
    /// A request.
    Post {
        /// Its address. Values are percent-encoded in it.
        url: Template,
        /// Its JSON. Values stand in its strings.
        body: Vec<(String, BodyValue)>,
        /// The variable that holds the server's key.
        api_key_env: Option<String>,
    },
    /// A command, which ends with exit code 0, or still runs when `ready_url` answers.
    Command(Vec<Argument>),
    /// An operator does it: only `ready_url` is polled.
    Wait,
}

/// A value of a request's body.
#[derive(Clone, Debug)]
pub(super) enum BodyValue {
    /// A string with placeholders.
    Text(Template),
    /// Anything else, as it is.
    Json(Json),
}

/// The default time limit until a server is ready: a model of several billion parameters loads in minutes.
pub(super) const DEFAULT_READY: Duration = Duration::from_secs(600);

/// What a trainer leaves that wrote a model the way Hugging Face's libraries do.
pub(super) const DEFAULT_RESULT: [&str; 3] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "adapter_model.safetensors",
];

/// The lines of Hugging Face's `Trainer`: `{'loss': '5.844', …, 'epoch': '0.07692'}`. Its numbers may be quoted.
pub(super) const DEFAULT_PATTERNS: [&str; 2] = [
    r"'loss': '?(?P<loss>[-+0-9.eE]+|nan|inf)",
    r"'epoch': '?(?P<epoch>[0-9.eE+-]+)",
];
