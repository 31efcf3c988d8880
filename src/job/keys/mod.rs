//! The keys of the job file, each defined once for the reader, `docs/reference/job-file.md` and the JSON Schema.

mod account;
mod finetune;
mod lm;
mod program;

pub(super) use account::AccountTable;
pub(super) use finetune::FinetuneTable;
pub(super) use lm::{EndpointTable, LmTable, PriceTable, SimulateTable};
pub(super) use program::{FileRoot, PredictorTable, ProgramTable};

use crate::adapter::AdapterKind;
use crate::schema::definition::{optional, required, reserved};
use crate::schema::form::{Count, Either, Flag, List, Named, Number, OneOf, OneOrMany, Sub, Word};
use crate::schema::table::table;
use crate::schema::time_span::TimeSpan;
use crate::spec::CutAnswers;

table! {
    /// A job file describes one compilation: the data, the program, its LMs, and how the student is fine-tuned. It is TOML, or JSON
    /// with the same keys if its name ends in `.json`.
    pub(super) struct JobTable {
        /// The job's name. The run directory and the run id contain it. Letters, digits, `-` and `_` are safe; slashes, `@` and control
        /// characters are refused.
        name: Word = Word, optional("\"intents\"").default("the file's name without its extension");
        /// The seed of everything random: the order of training rows, the validation split, simulated LMs.
        seed: Count = Count(0), optional("0").default("0");
        /// The examples.
        data: Sub<DataTable<'static>> = Sub::new(), required("{ trainset = \"train.jsonl\", inputs = [\"text\"] }");
        /// The student's program, and that of every teacher without its own.
        program: Sub<ProgramTable<'static>> = Sub::new(), required("{ predictors = [ … ] }");
        /// The LMs by name. Names become file names.
        lm: Named<Sub<LmTable<'static>>> = Named("student", Sub::new()), required("{ student = { model = \"openai/…\" } }");
        /// The accounts of LMs by name, with the limits that their providers declare.
        account: Named<Sub<AccountTable<'static>>> = Named("openai", Sub::new()),
            optional("").default("none: limits are learnt from the servers' answers").since("0.2.0");
        /// The student: the program that is fine-tuned.
        student: Sub<StudentTable<'static>> = Sub::new(), required("{ lm = \"NAME\" }");
        /// The teachers, in order: `[[teacher]]`, any number. Every teacher runs on every example.
        teacher: OneOrMany<Sub<TeacherTable<'static>>> = OneOrMany(Sub::new()), optional("").default("the student teaches itself");
        /// The metric: it decides which traces become training rows. Exactly one of `equals`, `exact_match`, `f1` and `contains`.
        metric: Sub<MetricTable<'static>> = Sub::new(), optional("").default("every trace is kept, as in DSPy");
        /// How traces become training rows.
        compile: Sub<CompileTable<'static>> = Sub::new(), optional("");
    }
}

table! {
    /// The examples, and which of their columns are inputs.
    pub(super) struct DataTable {
        /// The examples that teachers run on: a `.jsonl`, `.json` or `.csv` file, relative to this file.
        trainset: Word = Word, required("\"train.jsonl\"");
        /// Examples that are never trained on. Reserved: `check` verifies the file, and this version does not use it further.
        devset: Word = Word, optional("\"dev.jsonl\"").default("none");
        /// The input columns, as in `dspy.Example.with_inputs`. Every other column is a label.
        inputs: List<Word> = List(Word), required("[\"text\"]");
        /// Use the first N examples only.
        limit: Count = Count(1), optional("500").default("all examples");
    }
}

table! {
    /// The student: the program with the LMs that are fine-tuned.
    pub(super) struct StudentTable {
        /// The name of the LM of all predictors, or a table with the LM of each predictor. Each needs `[lm.NAME.finetune]`.
        lm: Either<Word, Named<Word>> = Either(Word, Named("classify", Word)), required("\"student\"");
        /// A state that DSPy saved (`program.save("….json")`), relative to this file. Its instructions and demos are used; its LMs are not.
        state: Word = Word, optional("\"optimized.json\"").default("none");
    }
}

table! {
    /// A teacher: the program with the LMs that answer.
    pub(super) struct TeacherTable {
        /// The name of the LM of all predictors, or a table with the LM of each predictor.
        lm: Either<Word, Named<Word>> = Either(Word, Named("classify", Word)), required("\"teacher\"");
        /// A state that DSPy saved, relative to this file, as for the student.
        state: Word = Word, optional("\"teacher.json\"").default("none");
        /// The teacher's own program: a program file, relative to this file, or a table like `[program]`. It needs the student's
        /// predictors, with the same names in the same order.
        program: Either<Word, Sub<ProgramTable<'static>>> = Either(Word, Sub::new()),
            optional("\"teacher.toml\"").default("the student's program");
    }
}

/// The alternative to a metric that this version does not have.
const OTHER_METRIC: &str = "write equals, exact_match, f1 or contains";

table! {
    /// The metric: it scores each trace, and traces that it rejects do not become training rows.
    pub(super) struct MetricTable {
        /// Typed equality of this output field and the column of the same name.
        equals: Either<Word, Sub<FieldTable<'static>>> = Either(Word, Sub::new()), optional("\"label\"");
        /// Equality after DSPy's text normalisation (case, punctuation, articles). A gold answer may be a list of accepted answers.
        exact_match: Either<Word, Sub<FieldTable<'static>>> = Either(Word, Sub::new()), optional("\"answer\"");
        /// The F1 score of the normalised tokens, from 0 to 1. Usually with a `threshold`.
        f1: Either<Word, Sub<FieldTable<'static>>> = Either(Word, Sub::new()), optional("{ field = \"answer\", threshold = 0.7 }");
        /// Whether the normalised answer contains the normalised gold answer.
        contains: Either<Word, Sub<FieldTable<'static>>> = Either(Word, Sub::new()), optional("\"answer\"");
        /// The lowest score that is kept.
        threshold: Number = Number(0.0, 1.0), optional("0.7").default("every score above 0 is kept, as in DSPy");
        /// A metric that asks an LM.
        judge: Word = Word, reserved(OTHER_METRIC);
        /// A metric in Python.
        python: Word = Word, reserved(OTHER_METRIC);
    }
}

table! {
    /// A metric with options of its own.
    pub(super) struct FieldTable {
        /// The output field, and the column of the same name.
        field: Word = Word, required("\"answer\"");
        /// The lowest score that is kept. It replaces `metric.threshold`.
        threshold: Number = Number(0.0, 1.0), optional("0.7").default("`metric.threshold`");
    }
}

/// The adapters that this version has.
const ADAPTERS: OneOf<AdapterKind> = OneOf {
    noun: "adapter",
    options: &[
        ("chat", AdapterKind::Chat, "`dspy.ChatAdapter`"),
        ("json", AdapterKind::Json, "`dspy.JSONAdapter`"),
        ("xml", AdapterKind::Xml, "`dspy.XMLAdapter`"),
    ],
    unsupported: &[],
};

/// What may become of cut answers.
const CUT_ANSWERS: OneOf<CutAnswers> = OneOf {
    noun: "value",
    options: &[
        (
            "keep",
            CutAnswers::Keep,
            "they become rows, as in DSPy, and the run ends with a warning",
        ),
        (
            "drop",
            CutAnswers::Drop,
            "their examples fail, with the kind `cut`",
        ),
    ],
    unsupported: &[],
};

table! {
    /// How traces become training rows.
    pub(super) struct CompileTable {
        /// Train one LM on the rows of all its predictors. If false, each predictor gets a model of its own.
        multitask: Flag = Flag, optional("true").default("true");
        /// Leave the demos out of the training rows and of the compiled student.
        exclude_demos: Flag = Flag, optional("false").default("false");
        /// How programs talk to LMs, and how training rows are written.
        adapter: OneOf<AdapterKind> = ADAPTERS, optional("\"chat\"").default("`\"chat\"`");
        /// Stop the run with exit code 1 if a greater part (0 to 1) of the examples that ended lately has failed. Lately: twice as many examples
        /// as calls are in flight, and at least 50. Limits and outages of an LM's account fail no example. The run also stops if the metric
        /// keeps none of the first 200 traces. 1.0 switches both off.
        max_failure_rate: Number = Number(0.0, 1.0), optional("0.3").default("0.5");
        /// How long an LM server that has answered in this run may be away before the run stops with exit code 4. The calls wait meanwhile,
        /// and the same command resumes the run.
        patience: TimeSpan = TimeSpan, optional("\"15m\"").default("`\"1h\"`").since("0.2.0");
        /// What becomes of answers that the server cut or withheld: their `finish_reason` is `length`, `content_filter` or another that is not
        /// the LM's own end.
        cut_answers: OneOf<CutAnswers> = CUT_ANSWERS, optional("\"drop\"").default("`\"keep\"`").since("0.2.0");
    }
}
