//! `[program]`, and program files.

use crate::program::ModuleKind;
use crate::schema::definition::{optional, required, reserved};
use crate::schema::form::{
    Any, Count, Described, Either, Flag, Free, List, Named, Number, OneOf, Sub, Text, Word,
};
use crate::schema::table::table;

table! {
    /// A declarative program: predictors that run in order. The inputs of the example are the first values; each predictor reads its
    /// input fields among the values and adds its outputs. Write the predictors here, or name a file that contains them.
    pub(in crate::job) struct ProgramTable {
        /// The predictors, in the order of DSPy's `predictors()`: `[[program.predictors]]`. Required without `file`.
        predictors: List<Sub<PredictorTable<'static>>> = List(Sub::new()), optional("");
        /// Types that signatures use by name. A type may use those that are defined before it.
        types: Described<Named<Sub<TypeTable<'static>>>> = Described(Named("Color", Sub::new())), optional("").default("none");
        /// A file that contains the program, relative to this file: a TOML or JSON file with `predictors` and `types`.
        file: Word = Word, optional("\"program.toml\"").default("none");
        /// A program in Python.
        python: Word = Word, reserved("write the predictors into the job file: [[program.predictors]]");
    }
}

table! {
    /// A program file: a whole `[program]` table, or only its content.
    pub(in crate::job) struct FileRoot {
        /// The program.
        program: Sub<ProgramTable<'static>> = Sub::new(), required("{ predictors = [ … ] }");
    }
}

/// The modules that this version runs.
const MODULES: OneOf<ModuleKind> = OneOf {
    noun: "module",
    options: &[
        ("Predict", ModuleKind::Predict, "`dspy.Predict`"),
        (
            "ChainOfThought",
            ModuleKind::ChainOfThought,
            "`dspy.ChainOfThought`: an output field `reasoning` comes first",
        ),
    ],
    unsupported: &[
        "ReAct",
        "ProgramOfThought",
        "MultiChainComparison",
        "BestOfN",
        "Refine",
        "Parallel",
        "CodeAct",
        "RLM",
    ],
};

table! {
    /// A predictor: one LM call.
    pub(in crate::job) struct PredictorTable {
        /// The attribute's name in DSPy, such as `classify`. `self` if the program is a bare `dspy.Predict` or `dspy.ChainOfThought`. A
        /// ChainOfThought `classify` owns the predictor `classify.predict`, and a bare one `predict`.
        name: Word = Word, required("\"answer\"");
        /// The DSPy module.
        module: OneOf<ModuleKind> = MODULES, optional("\"ChainOfThought\"").default("`\"Predict\"`");
        /// The signature in DSPy's mini-language: `inputs -> outputs`, with types.
        signature: Word = Word, required("\"question -> answer\"");
        /// The instructions of the signature.
        instructions: Text = Text, optional("\"Answer briefly.\"").default("DSPy's own, which names the fields");
        /// The description of each field.
        desc: Named<Text> = Named("question", Text), optional("{ question = \"a trivia question\" }").default("DSPy's own: `${field}`");
        /// Examples that the prompt contains: a list of tables with values for the fields.
        demos: List<Free> = List(Free), optional("[{ question = \"Largest planet?\", answer = \"Jupiter\" }]").default("none");
        /// LM arguments of this predictor. They replace those of `[lm.NAME]`.
        config: Free = Free, optional("{ temperature = 0.3 }").default("none");
        /// Renames inputs: the field, and the name of the value that it reads.
        inputs: Named<Text> = Named("question", Text), optional("{ question = \"text\" }").default("each field reads the value of its own name");
        /// How many times in a row the predictor is called.
        repeat: Count = Count(1), optional("2").default("1");
    }
}

table! {
    /// A named type: either `enum` or `fields`.
    pub(in crate::job) struct TypeTable {
        /// The values of an enum: strings, numbers or booleans.
        r#enum: List<Any> = List(Any), optional("[\"red\", \"dark blue\"]");
        /// The fields of a model: `[name, type]`, `[name, type, default]`, or a table with what `pydantic.Field` adds.
        fields: List<Either<List<Any>, Sub<ModelFieldTable<'static>>>> = List(Either(List(Any), Sub::new())),
            optional("[[\"name\", \"str\"], { name = \"age\", type = \"int\", default = 7, ge = 0, le = 150 }]");
        /// The docstring of a model or an enum. The JSON Schema in prompts has it as description.
        doc: Text = Text, optional("\"A person.\"").default("none");
    }
}

table! {
    /// A field of a model, with what `pydantic.Field` adds to it. The JSON Schema in prompts has it all, in pydantic's words. An answer
    /// with a value that does not satisfy a constraint does not parse, as in DSPy. In `Optional[T]` the constraints are those of `T`.
    pub(in crate::job) struct ModelFieldTable {
        /// The name of the field.
        name: Word = Word, required("\"age\"").since("0.2.0");
        /// The type, as in a signature.
        r#type: Word = Word, required("\"int\"").since("0.2.0");
        /// The value of a field that an answer leaves out. As in pydantic, it need not satisfy the constraints.
        default: Any = Any, optional("7").default("the field is required").since("0.2.0");
        /// `false` makes `None` the default, which TOML cannot write.
        required: Flag = Flag, optional("false").default("`true` without `default`").since("0.2.0");
        /// The description.
        desc: Text = Text, optional("\"in years\"").default("none").since("0.2.0");
        /// The title.
        title: Text = Text, optional("\"Age in years\"").default("pydantic's: the name with capitals").since("0.2.0");
        /// Examples of its values.
        examples: List<Any> = List(Any), optional("[7, 42]").default("none").since("0.2.0");
        /// For `int` and `float`: the value is greater than this.
        gt: Number = Number(f64::NEG_INFINITY, f64::INFINITY), optional("0").default("none").since("0.2.0");
        /// For `int` and `float`: the value is this or greater.
        ge: Number = Number(f64::NEG_INFINITY, f64::INFINITY), optional("0").default("none").since("0.2.0");
        /// For `int` and `float`: the value is less than this.
        lt: Number = Number(f64::NEG_INFINITY, f64::INFINITY), optional("151").default("none").since("0.2.0");
        /// For `int` and `float`: the value is this or less.
        le: Number = Number(f64::NEG_INFINITY, f64::INFINITY), optional("150").default("none").since("0.2.0");
        /// For `int` and `float`: the value is a multiple of this.
        multiple_of: Number = Number(f64::NEG_INFINITY, f64::INFINITY), optional("5").default("none").since("0.2.0");
        /// For `str`, `list`, `set`, `dict` and `tuple[T, ...]`: the fewest characters or items.
        min_length: Count = Count(0), optional("1").default("none").since("0.2.0");
        /// For the same types: the most characters or items.
        max_length: Count = Count(0), optional("10").default("none").since("0.2.0");
        /// For `str`: a regular expression that matches somewhere in the value. As in pydantic, without look-around and back-references.
        pattern: Text = Text, optional("\"^[A-Z]{2}\\\\d+$\"").default("none").since("0.2.0");
    }
}
