//! `[lm.NAME.finetune]`.

use crate::finetune::RowFormat;
use crate::schema::definition::{optional, required};
use crate::schema::form::{Free, List, Number, OneOf, Word};
use crate::schema::table::table;

/// The maximum fraction of validation examples.
const MOST_VALIDATION: f64 = 0.9;

/// The fine-tune providers of this version.
const FINETUNE_PROVIDERS: OneOf<&str> = OneOf {
    noun: "fine-tune provider",
    options: &[
        (
            "export",
            "export",
            "trains nothing: the training files are the result",
        ),
        (
            "simulated",
            "simulated",
            "trains nothing, and gives the model a new name at once",
        ),
        (
            "command",
            "command",
            "a trainer on a worker's machine, from its `--trainers` file",
        ),
        (
            "openai",
            "openai",
            "a server with OpenAI's files and fine-tuning jobs",
        ),
        ("together", "together", "Together AI"),
        ("fireworks", "fireworks", "Fireworks AI"),
    ],
    unsupported: &["local"],
};

/// The formats that `export` adds.
const ROW_FORMATS: OneOf<RowFormat> = OneOf {
    noun: "row format",
    options: &[
        (
            "sharegpt",
            RowFormat::Sharegpt,
            "`conversations` of `from` and `value`",
        ),
        ("alpaca", RowFormat::Alpaca, "`instruction`, `input`, `output`"),
        (
            "prompt_completion",
            RowFormat::PromptCompletion,
            "TRL's `prompt` and `completion`",
        ),
    ],
    unsupported: &[],
};

/// The providers that are services.
const SERVICES: &[&str] = &["openai", "together", "fireworks"];

table! {
    /// How an LM is fine-tuned. Every LM of the student needs this table.
    pub(in crate::job) struct FinetuneTable {
        /// What trains.
        provider: OneOf<&'static str> = FINETUNE_PROVIDERS, required("\"export\"");
        /// The model that is trained: DSPy's `finetuning_model`.
        model: Word = Word, optional("\"openai/Qwen/Qwen3-4B\"").default("the LM's own model");
        /// DSPy's `train_kwargs`, in the provider's own names. `check` refuses keys that a service does not take.
        train: Free = Free, optional("{ n_epochs = 3 }").default("the provider's defaults");
        /// The part of the examples (0 to 0.9) whose rows are held out for validation.
        validation_fraction: Number = Number(0.0, MOST_VALIDATION), optional("0.05").default("0");
        /// Row formats beside DSPy's `messages`, each in a file of its own.
        formats: List<OneOf<RowFormat>> = List(ROW_FORMATS), optional("[\"sharegpt\"]").default("none").only_for(&["export"]);
        /// The name of a trainer in the worker's `--trainers` file.
        trainer: Word = Word, required("\"trl\"").only_for(&["command"]);
        /// The address of the service.
        api_base: Word = Word, optional("\"https://api.tokenfactory.nebius.com/v1\"")
            .default("the LM's own for `openai`, otherwise the service's").only_for(SERVICES);
        /// The name of the environment variable that contains the API key. A variable that is named here must be set, whatever the address;
        /// `check` reports an unset one.
        api_key_env: Word = Word, optional("\"NEBIUS_API_KEY\"")
            .default("`OPENAI_API_KEY`, `TOGETHER_API_KEY` or `FIREWORKS_API_KEY` for the service's own address; no key is sent to any other address")
            .only_for(SERVICES);
        /// The header that carries the key without `Bearer`, such as Azure's `api-key`.
        auth_header: Word = Word, optional("\"api-key\"").default("`Authorization: Bearer KEY`").only_for(SERVICES);
        /// The end of the new model's name, at most 64 characters.
        suffix: Word = Word, optional("\"intents\"").default("derived from the job and the LM").only_for(SERVICES);
        /// Merged into the body of the request that creates the training.
        extra: Free = Free, optional("{ hyperparameters = { n_epochs = 3 } }").default("none").only_for(SERVICES);
        /// The account that trains and owns the model.
        account: Word = Word, required("\"my-account\"").only_for(&["fireworks"]);
    }
}
