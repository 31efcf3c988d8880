//! The keys of the `--trainers` file, each defined once: reading, `docs/reference/trainers.md` and the JSON Schema come from here.

use super::trainers::TrainFormat;
use super::trainers_file_forms::{AboveZero, BodyPart, CommandLine, Seconds, TemplateLines, TemplateText};
use crate::schema::definition::{optional, required};
use crate::schema::form::{Flag, Free, List, Named, OneOf, OneOrMany, Sub, Text, Word};
use crate::schema::table::table;

table! {
    /// A trainers file lists the commands that jobs may train with on this machine. A job names a trainer
    /// (`provider = "command"`, `trainer = "NAME"`), never a command.
    ///
    /// No shell reads a command. `{name}` in a value is a placeholder: a value of bsft or a key of the job's `train`. It is replaced
    /// within one argument.
    pub(super) struct TrainersTable {
        /// The folder of the trainings, relative to this file. Each training has a folder in it, with its logs and its model.
        dir: Word = Word, optional("\"/var/lib/bsft/trainings\"").default("`trainings` beside this file, or in DIR with `compile`");
        /// The number of trainings on this machine at a time. They share its accelerators and its memory.
        at_once: AboveZero = AboveZero, optional("1").default("1");
        /// The seconds without a heartbeat of another machine after which a training of that machine is restarted on this one.
        take_over_secs: Seconds = Seconds, optional("600").default("600");
        /// The trainers by name: `[trainer.NAME]`.
        trainer: Named<Sub<TrainerTable<'static>>> = Named("mine", Sub::new()), optional("{ mine = { argv = [ … ] } }");
    }
}

/// The formats of the training file.
const TRAIN_FORMATS: OneOf<TrainFormat> = OneOf {
    noun: "train format",
    options: &[
        (
            "prompt_completion",
            TrainFormat::PromptCompletion,
            "`prompt` and `completion`: the trainer learns the answer only",
        ),
        (
            "messages",
            TrainFormat::Messages,
            "`messages`, as DSPy writes them",
        ),
    ],
    unsupported: &[],
};

table! {
    /// A trainer: the command that trains, and how bsft prepares, watches and finishes it.
    pub(super) struct TrainerTable {
        /// The command, a list of arguments. An inner list is omitted if one of its placeholders has no value.
        argv: CommandLine = CommandLine,
            required("[\"python\", \"{config_dir}/train.py\", \"--rows\", \"{train_file}\", [\"--resume\", \"{resume_dir}\"]]");
        /// A description, for people who read the file.
        description: Word = Word, optional("\"TRL, all weights\"").default("none");
        /// Environment variables. One whose placeholder has no value is omitted. Not for secrets: values may appear in logs.
        env: Named<TemplateText> = Named("HF_HUB_OFFLINE", TemplateText), optional("{ HF_HUB_OFFLINE = \"1\" }").default("none");
        /// Variables of the worker that the command gets besides PATH, HOME and the like. The place for secrets. For NAME the worker may have
        /// NAME_FILE, the path of a file with the value.
        pass_env: List<Text> = List(Text), optional("[\"HF_TOKEN\"]").default("none");
        /// Values of `train` keys that the job omits.
        defaults: Free = Free, optional("{ n_epochs = 3 }").default("none");
        /// Further `train` keys that the job may give. The command reads them from `{hyperparams_file}`.
        keys: List<Text> = List(Text), optional("[\"warmup_ratio\"]").default("none");
        /// The format of the training file.
        train_format: OneOf<TrainFormat> = TRAIN_FORMATS, optional("\"messages\"").default("`\"prompt_completion\"`");
        /// Files that are written into the work folder, by name. Values are inserted as JSON; a line is omitted if one of its placeholders has
        /// no value.
        files: Named<TemplateLines> = Named("config.yaml", TemplateLines),
            optional("{ \"config.yaml\" = \"model: {base_model}\" }").default("none");
        /// Which files must exist after a successful training.
        result: Sub<ResultTable<'static>> = Sub::new(), optional("{ any_of = [\"model.safetensors\"] }");
        /// The name of the new model.
        model: TemplateText = TemplateText, optional("\"openai/{name}\"").default("`openai/{artefact}`");
        /// How the progress is read, besides `{progress_file}`.
        progress: Sub<ProgressTable<'static>> = Sub::new(), optional("{ jsonl = \"log.jsonl\" }");
        /// A command that counts tokens with the model's own tokenizer. Its last line is `{"rows", "longest", "lengths", "limit"}` as JSON.
        measure: CommandLine = CommandLine,
            optional("[\"python\", \"{measure_script}\", \"{base_model}\", \"{train_file}\"]").default("lengths are estimated");
        /// A command that succeeds if the trainer is installed. It runs before the first LM call.
        check: CommandLine = CommandLine, optional("[\"python\", \"-c\", \"import trl\"]").default("none");
        /// A command that uploads the result. Its last line is the location.
        upload: CommandLine = CommandLine, optional("[\"upload\", \"{output_dir}\"]").default("none");
        /// How a server gets the new model.
        serve: Sub<ServeTable<'static>> = Sub::new(), optional("").default("none");
        /// How a training is stopped.
        cancel: Sub<CancelTable<'static>> = Sub::new(), optional("{ grace_secs = 30 }");
        /// The most seconds that an attempt may take.
        timeout_secs: Seconds = Seconds, optional("86400").default("604800");
        /// The most seconds without output or progress.
        silence_secs: Seconds = Seconds, optional("3600").default("7200");
        /// The models that jobs may train here. A `*` at the end stands for anything. Workers warn of a trainer without this list: `["*"]`
        /// allows any model on purpose.
        base_models: List<Text> = List(Text), optional("[\"Qwen/*\"]").default("any");
    }
}

table! {
    /// When a training that exits with 0 has a result.
    pub(super) struct ResultTable {
        /// One of these files must be in the output folder and not be empty. An empty list: the result file names the model.
        any_of: List<Text> = List(Text), optional("[\"model.safetensors\"]")
            .default("`model.safetensors`, `model.safetensors.index.json`, `adapter_model.safetensors`");
        /// Whether the trainer may end before its last epoch.
        may_stop_early: Flag = Flag, optional("true").default("false");
    }
}

table! {
    /// How progress is read.
    pub(super) struct ProgressTable {
        /// Regular expressions for the lines of stdout, with the groups `step`, `total_steps`, `epoch`, `loss`, `percent`.
        regex: OneOrMany<Text> = OneOrMany(Text), optional("'loss=(?P<loss>[0-9.]+)'")
            .default("the lines of Hugging Face's `Trainer`");
        /// A file in the output folder to which the trainer appends JSON lines.
        jsonl: Word = Word, optional("\"log.jsonl\"").default("none");
    }
}

table! {
    /// How a server gets the new model: a request (`post`), a command (`argv`), or waiting for `ready_url` only.
    pub(super) struct ServeTable {
        /// The address of a POST request. Values are percent-encoded in it.
        post: TemplateText = TemplateText, optional("\"http://127.0.0.1:8000/v1/load_lora_adapter\"").default("none");
        /// The JSON body of the request.
        body: Named<BodyPart> = Named("lora_name", BodyPart), optional("{ lora_name = \"{name}\", lora_path = \"{artefact}\" }").default("none");
        /// The name of the variable with the server's key.
        api_key_env: Word = Word, optional("\"VLLM_API_KEY\"").default("no key is sent");
        /// A command. It ends with 0, or continues while `ready_url` answers.
        argv: CommandLine = CommandLine, optional("[\"vllm\", \"serve\", \"{artefact}\"]").default("none");
        /// An address that is polled until it answers 200.
        ready_url: TemplateText = TemplateText, optional("\"http://127.0.0.1:8000/health\"").default("none");
        /// The most seconds until `ready_url` answers.
        ready_timeout_secs: Seconds = Seconds, optional("300").default("600");
        /// Where the model is served.
        api_base: TemplateText = TemplateText, optional("\"http://127.0.0.1:8000/v1\"").default("the address of the student's LM");
    }
}

table! {
    /// How a training is stopped.
    pub(super) struct CancelTable {
        /// The seconds between TERM and KILL.
        grace_secs: Seconds = Seconds, optional("120").default("30");
    }
}
