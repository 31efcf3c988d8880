//! The definition of the job file: every key, what it holds and what it means.

use crate::schema::{Kind, NOT_YET, Presence, table};

/// The fine-tune providers that this version has.
pub(super) const PROVIDERS: [&str; 6] = [
    "export",
    "simulated",
    "command",
    "openai",
    "together",
    "fireworks",
];

/// Those of them that are services on the network.
const SERVICES: [&str; 3] = ["openai", "together", "fireworks"];

/// The greatest part of the examples that may be held out.
const MAX_VALIDATION: f64 = 0.9;

const RATE: Kind = Kind::Number {
    least: 0.0,
    most: 1.0,
};

const DOLLARS: Kind = Kind::Number {
    least: 0.0,
    most: 1e9,
};

/// One LM for every predictor, or an LM for each.
const LM_OF_PREDICTORS: Kind = Kind::Either(&[Kind::Word, Kind::Map(&Kind::Word)]);

/// A field, or a table with a threshold of its own.
const SCORED_FIELD: Kind = Kind::Either(&[Kind::Word, Kind::Table(&SCORED)]);

table! {
    /// A job file is TOML, or JSON with the same keys if its name ends in `.json`. Paths in it are relative to the file.
    /// Unknown keys are errors. `bsft check JOB` reports all problems at once.
    pub static JOB: "" {
        /// The job's name. The run directory is `runs/NAME` unless `--out` gives another one. Absent: the name of the file
        /// without its extension.
        name: Kind::Word, Presence::Optional, "\"intents\"";
        /// Decides which examples are held out, is passed to the fine-tune provider, and varies the answers of simulated
        /// LMs. The same seed gives the same files.
        seed: Kind::Count { least: 0 }, Presence::Default("0"), "0";
        /// The examples.
        data: Kind::Table(&DATA), Presence::Required, "{ trainset = \"train.jsonl\", inputs = [\"text\"] }";
        /// The program that is compiled.
        program: Kind::Table(&PROGRAM), Presence::Required,
            "{ predictors = [{ name = \"answer\", signature = \"question -> answer\" }] }";
        /// The language models, by a name that the rest of the file uses.
        lm: Kind::Map(&Kind::Table(&LM)), Presence::Required, "{ student = { model = \"openai/Qwen/Qwen3-0.6B\" } }";
        /// The student: the program with the LMs that are fine-tuned.
        student: Kind::Table(&STUDENT), Presence::Required, "{ lm = \"student\" }";
        /// The teachers, in order; each runs on every example. Absent: the student teaches itself.
        teacher: Kind::Either(&[Kind::List(&Kind::Table(&TEACHER)), Kind::Table(&TEACHER)]), Presence::Optional,
            "[{ lm = \"teacher\" }]";
        /// Decides which traces become training rows. Absent: every trace is kept, as in DSPy.
        metric: Kind::Table(&METRIC), Presence::Optional, "{ exact_match = \"label\" }";
        /// How traces become training rows.
        compile: Kind::Table(&COMPILE), Presence::Optional, "{ multitask = true }";
    }
}

table! {
    /// Where the examples are, and which of their columns the program is given.
    pub(super) static DATA: "data" {
        /// The examples that teachers run on: a `.jsonl`, `.json` or `.csv` file.
        trainset: Kind::Word, Presence::Required, "\"train.jsonl\"";
        /// Examples that are never trained on. This version reads and checks the file and does not use it further.
        devset: Kind::Word, Presence::Optional, "\"dev.jsonl\"";
        /// The columns that the program is given, as `dspy.Example.with_inputs`. Every other column is a label.
        inputs: Kind::List(&Kind::Word), Presence::Required, "[\"text\"]";
        /// The number of examples that are used, from the start of the file. `compile --limit` overrides it. Absent: all.
        limit: Kind::Count { least: 1 }, Presence::Optional, "500";
    }
}

table! {
    /// The program: its predictors, written here or in a file of their own. The predictors run in order on a namespace that
    /// starts as the example's inputs; each one's outputs are merged into it.
    pub(super) static PROGRAM: "program" {
        /// The predictors, in the order of DSPy's `predictors()`. Required unless `file` is given.
        predictors: Kind::List(&Kind::Table(&PREDICTOR)), Presence::Optional,
            "[{ name = \"answer\", signature = \"question -> answer\" }]";
        /// Named types for signatures. `enum` lists the values of an enumeration. `fields` lists the fields of a pydantic
        /// model as `[name, type]` or `[name, type, default]`, and `doc` is its docstring.
        types: Kind::Map(&Kind::Any), Presence::Optional,
            "{ Color = { enum = [\"red\", \"dark blue\"] }, Person = { doc = \"A person.\", fields = [[\"name\", \"str\"], [\"age\", \"int\", 7]] } }";
        /// A file with the keys `predictors` and `types`, instead of writing them here.
        file: Kind::Word, Presence::Optional, "\"program.toml\"";
        /// A program in Python.
        python: Kind::Word, Presence::Refused { why: NOT_YET, advice: "write the predictors into the job file: [[program.predictors]]" },
            "\"pkg.module:student\"";
    }
}

table! {
    /// A predictor of the program.
    pub(super) static PREDICTOR: "program.predictors" {
        /// The name in DSPy's `named_predictors()`: the attribute that holds the module. The predictor inside a
        /// ChainOfThought `classify` is saved as `classify.predict`; write `classify` here.
        name: Kind::Word, Presence::Required, "\"classify\"";
        /// The DSPy module: `Predict` or `ChainOfThought`.
        module: Kind::Word, Presence::Default("\"Predict\""), "\"ChainOfThought\"";
        /// The signature in DSPy's own notation, with the types of `program.types`.
        signature: Kind::Word, Presence::Required, "\"text -> label: Literal['lost_card', 'card_arrival']\"";
        /// The instructions. Absent or empty: DSPy's default for the signature.
        instructions: Kind::Text, Presence::Optional, "\"Sort the message.\"";
        /// Descriptions of fields, as `desc` of DSPy's `InputField` and `OutputField`.
        desc: Kind::Map(&Kind::Text), Presence::Optional, "{ text = \"what the customer wrote\" }";
        /// Demonstrations that are part of every prompt.
        demos: Kind::List(&Kind::Map(&Kind::Any)), Presence::Optional,
            "[{ text = \"My card is gone.\", reasoning = \"It is lost.\", label = \"lost_card\" }]";
        /// LM arguments of this predictor alone. They override those of the LM.
        config: Kind::Map(&Kind::Any), Presence::Optional, "{ temperature = 0.3 }";
        /// Input fields that read another name of the namespace: field = name.
        inputs: Kind::Map(&Kind::Text), Presence::Optional, "{ text = \"message\" }";
        /// How often the predictor runs in a row.
        repeat: Kind::Count { least: 1 }, Presence::Default("1"), "1";
    }
}

table! {
    /// A language model. NAME is what `student`, `teacher` and the training files call it.
    pub(super) static LM: "lm.*" {
        /// The model: `openai/…` for any OpenAI-compatible server, `hosted_vllm/…` likewise, `simulated/…` for an LM in the
        /// process that needs no server.
        model: Kind::Word, Presence::Required, "\"openai/gpt-4.1-mini\"";
        /// The server's address up to and including `/v1`. Absent: OpenAI's.
        api_base: Kind::Word, Presence::Optional, "\"http://127.0.0.1:8000/v1\"";
        /// The name of the environment variable that holds the API key, never the key itself. A variable that is named has
        /// to be set in every process that calls the LM, whatever the address. Absent: `OPENAI_API_KEY` for OpenAI's own
        /// address, and no key for any other.
        api_key_env: Kind::Word, Presence::Optional, "\"OPENAI_API_KEY\"";
        /// The key itself.
        api_key: Kind::Any,
            Presence::Refused {
                why: "puts a key into the file",
                advice: "write `api_key_env = \"OPENAI_API_KEY\"`, the name of a variable, and set that",
            },
            "\"…\"";
        /// The sampling temperature. Absent: the server's default.
        temperature: Kind::Number { least: 0.0, most: f64::INFINITY }, Presence::Optional, "0.7";
        /// The greatest number of tokens in an answer. Absent: the server's default.
        max_tokens: Kind::Count { least: 1 }, Presence::Optional, "1000";
        /// Further arguments of each request, passed through as they are.
        extra: Kind::Map(&Kind::Any), Presence::Optional, "{ top_p = 0.9 }";
        /// The time limit of one request, in seconds.
        timeout_secs: Kind::Number { least: 0.001, most: 1e6 }, Presence::Default("600"), "600";
        /// How often a request is repeated after a rate limit, a server error or a lost connection.
        num_retries: Kind::Count { least: 0 }, Presence::Default("3"), "3";
        /// Prices, for the cost in `plan`, the summary and `run.json`. Absent: the cost is unknown.
        price: Kind::Table(&PRICE), Presence::Optional, "{ input = 2.0, output = 8.0 }";
        /// How a `simulated/…` LM behaves.
        simulate: Kind::Table(&SIMULATE), Presence::Optional, "{ accuracy = 0.8 }";
        /// How the LM is fine-tuned. Every LM of the student needs it.
        finetune: Kind::Table(&FINETUNE), Presence::Optional, "{ provider = \"export\" }";
    }
}

table! {
    /// Prices in US dollars per million tokens.
    pub(super) static PRICE: "lm.*.price" {
        /// For the tokens of the prompt.
        input: DOLLARS, Presence::Required, "2.0";
        /// For the tokens of the answer.
        output: DOLLARS, Presence::Required, "8.0";
    }
}

table! {
    /// The behaviour of a simulated LM: a function of the request and the seeds.
    pub(super) static SIMULATE: "lm.*.simulate" {
        /// The probability that an answer agrees with the example's labels.
        accuracy: RATE, Presence::Default("0.8"), "0.9";
        /// The time that an answer takes, in milliseconds.
        latency_ms: Kind::Count { least: 0 }, Presence::Default("0"), "20";
        /// The probability that an answer does not parse.
        malformed_rate: RATE, Presence::Default("0.0"), "0.05";
        /// The probability that the first attempt of a request is answered with 429 or 500.
        error_rate: RATE, Presence::Default("0.0"), "0.02";
        /// Another seed gives other answers.
        seed: Kind::Count { least: 0 }, Presence::Default("0"), "7";
    }
}

table! {
    /// How an LM is fine-tuned. [Fine-tuning](../guides/fine-tuning.md) describes the providers.
    pub(super) static FINETUNE: "lm.*.finetune" {
        /// What trains the model. `export` writes the training files and trains nothing.
        provider: Kind::OneOf { what: "fine-tune provider", values: &PROVIDERS }, Presence::Required, "\"export\"";
        /// The model that is trained, as DSPy's `finetuning_model`. Absent: the LM's own.
        model: Kind::Word, Presence::Optional, "\"openai/Qwen/Qwen3-0.6B\"";
        /// DSPy's `train_kwargs`, passed to the provider.
        train: Kind::Map(&Kind::Any), Presence::Optional, "{ n_epochs = 3 }";
        /// The part of the examples whose rows are held out in `data/<lm>.validation.jsonl`, and with which providers
        /// measure. All rows of an example, and of examples with the same inputs, are on one side.
        validation_fraction: Kind::Number { least: 0.0, most: MAX_VALIDATION }, Presence::Default("0.0"), "0.1";
        /// Further formats of the training rows: `sharegpt`, `alpaca`, `prompt_completion`.
        formats: Kind::List(&Kind::Word), Presence::Optional, "[\"sharegpt\", \"alpaca\"]", for ["export"];
        /// The trainer's name in the worker's `--trainers` file. Required for `command`.
        trainer: Kind::Word, Presence::Optional, "\"trl\"", for ["command"];
        /// The service's address. Absent: the provider's own; for `openai` the LM's, if that has one.
        api_base: Kind::Word, Presence::Optional, "\"https://api.example.com/v1\"", for SERVICES;
        /// The name of the environment variable that holds the service's API key. A variable that is named has to be set
        /// on the worker, whatever the address. Absent: the provider's usual variable (`OPENAI_API_KEY`,
        /// `TOGETHER_API_KEY`, `FIREWORKS_API_KEY`) for the provider's own address, and no key for any other.
        api_key_env: Kind::Word, Presence::Optional, "\"TOGETHER_API_KEY\"", for SERVICES;
        /// The header that carries the key, instead of `Authorization: Bearer`; Azure takes `api-key`.
        auth_header: Kind::Word, Presence::Optional, "\"api-key\"", for SERVICES;
        /// The suffix of the new model's name, at most 64 characters. Absent: made from the job's name and the LM key.
        suffix: Kind::Word, Presence::Optional, "\"intents\"", for SERVICES;
        /// Further fields of the request that creates the training, merged into it.
        extra: Kind::Map(&Kind::Any), Presence::Optional, "{ integrations = [] }", for SERVICES;
        /// The Fireworks account. Required for `fireworks`.
        account: Kind::Word, Presence::Optional, "\"my-account\"", for ["fireworks"];
    }
}

table! {
    /// The student.
    pub(super) static STUDENT: "student" {
        /// The LM of every predictor, or a table with one for each: `{ classify = "student" }`.
        lm: LM_OF_PREDICTORS, Presence::Required, "\"student\"";
        /// A state that DSPy has saved (`program.save("….json")`). Its instructions and demos are taken.
        state: Kind::Word, Presence::Optional, "\"optimized.json\"";
    }
}

table! {
    /// A teacher: the program, or another one with the same predictors.
    pub(super) static TEACHER: "teacher" {
        /// The LM of every predictor, or a table with one for each.
        lm: LM_OF_PREDICTORS, Presence::Required, "\"teacher\"";
        /// A state that DSPy has saved, for this teacher alone.
        state: Kind::Word, Presence::Optional, "\"teacher.json\"";
        /// A program of its own, with the same predictors: a file, or a table like `[program]`. Absent: the job's program.
        program: Kind::Either(&[Kind::Word, Kind::Table(&PROGRAM)]), Presence::Optional, "\"teacher.toml\"";
    }
}

table! {
    /// Which traces are kept: one of `equals`, `exact_match`, `f1` and `contains`. Each names an output field, which is
    /// compared with the label of the same name. A score is kept if it is truthy, as in DSPy.
    pub(super) static METRIC: "metric" {
        /// The prediction equals the label, types included.
        equals: SCORED_FIELD, Presence::Optional, "\"label\"";
        /// DSPy's `answer_exact_match`: equal after DSPy's normalisation (case, articles, punctuation, space). The label may
        /// be a list of accepted answers.
        exact_match: SCORED_FIELD, Presence::Optional, "\"answer\"";
        /// DSPy's F1 over the words of both texts; of several labels the best counts.
        f1: SCORED_FIELD, Presence::Optional, "{ field = \"answer\", threshold = 0.7 }";
        /// The prediction contains the label, after DSPy's normalisation.
        contains: SCORED_FIELD, Presence::Optional, "\"answer\"";
        /// The least score that is kept, instead of "truthy".
        threshold: RATE, Presence::Optional, "0.7";
        /// An LM as judge.
        judge: Kind::Any, Presence::Refused { why: NOT_YET, advice: "write equals, exact_match, f1 or contains" }, "{ lm = \"judge\" }";
        /// A metric in Python.
        python: Kind::Any, Presence::Refused { why: NOT_YET, advice: "write equals, exact_match, f1 or contains" }, "\"pkg.module:metric\"";
    }
}

table! {
    /// A metric's field with a threshold of its own.
    pub(super) static SCORED: "metric.*" {
        /// The output field.
        field: Kind::Word, Presence::Required, "\"answer\"";
        /// The least score that is kept.
        threshold: RATE, Presence::Optional, "0.7";
    }
}

table! {
    /// How traces become training rows.
    pub(super) static COMPILE: "compile" {
        /// DSPy's `multitask`: one training per LM, on the rows of all its predictors. `false`: one per LM and predictor.
        multitask: Kind::Flag, Presence::Default("true"), "true";
        /// DSPy's `exclude_demos`: training rows, and the compiled student, have no demos.
        exclude_demos: Kind::Flag, Presence::Default("false"), "false";
        /// How prompts, answers and training rows are written: DSPy's ChatAdapter, JSONAdapter or XMLAdapter.
        adapter: Kind::OneOf { what: "adapter", values: &["chat", "json", "xml"] }, Presence::Default("\"chat\""), "\"chat\"";
        /// The run stops with exit code 1 if a greater part of the examples has failed.
        max_failure_rate: RATE, Presence::Default("1.0"), "0.5";
    }
}
