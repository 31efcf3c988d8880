//! Programs: the predictors of `[program]`, of a program file or of a teacher.

use super::field_names::FieldNames;
use super::source::{Sources, sibling};
use crate::program::{ModuleKind, PredictorSpec};
use crate::schema::Problems;
use crate::schema::{Item, Place, Section, nearest};
use crate::signature::{TypeTable, parse_types};
use serde_json::{Map, Value as Json};

/// A program as written, without LMs yet.
#[derive(Clone)]
pub(super) struct Draft<'a> {
    pub(super) predictors: Vec<DraftPredictor<'a>>,
    /// Where the program is written.
    pub(super) place: Place<'a>,
}

/// The named types of a job.
#[derive(Default)]
pub(super) struct Types {
    /// As written, of all programs.
    pub(super) written: Map<String, Json>,
    table: TypeTable,
    /// Some do not parse: signatures cannot be read then.
    broken: bool,
}

/// One predictor as written; `spec.lm` is still empty.
#[derive(Clone)]
pub(super) struct DraftPredictor<'a> {
    pub(super) spec: PredictorSpec,
    /// None where the signature does not parse.
    pub(super) shape: Option<FieldNames>,
    pub(super) place: Place<'a>,
}

/// The program that `section` (a `[program]` table) describes; `types` gains the types that it names.
pub(super) fn read<'a>(
    section: &Section<'a>,
    sources: &'a Sources,
    types: &mut Types,
    problems: &mut Problems,
) -> Option<Draft<'a>> {
    section.only(&["predictors", "types", "file", "python"], problems);
    if let Some(item) = section.get("python") {
        let message = "programs in Python are not supported by this version";
        item.place.report(
            problems,
            message,
            "write the predictors into the job file: [[program.predictors]]",
        );
        return None;
    }
    if let Some(item) = section.get("file") {
        for key in ["predictors", "types"] {
            if let Some(other) = section.get(key) {
                let message = format!("`{}` stands beside `{}`", other.name, item.name);
                other.place.report(
                    problems,
                    message,
                    "write the program here or in the file, not both",
                );
            }
        }
        return read_file(&item, sources, types, problems);
    }
    read_types(section, types, problems);
    let mut predictors: Vec<DraftPredictor<'_>> = Vec::new();
    let list = section.need(
        "predictors",
        "[{ name = \"answer\", signature = \"question -> answer\" }]",
        problems,
    )?;
    for item in list.list(problems)? {
        let Some(section) = item.section(problems) else {
            continue;
        };
        if let Some(one) = predictor(&section, types, problems) {
            let name = one.spec.predictor_name();
            if let Some(earlier) = predictors.iter().find(|p| p.spec.predictor_name() == name) {
                let message = format!(
                    "a second predictor is called `{name}` (the first is on line {})",
                    earlier.place.line
                );
                one.place
                    .report(problems, message, "give each predictor its own name");
            }
            predictors.push(one);
        }
    }
    if predictors.is_empty() && problems.is_empty() {
        list.place.report(
            problems,
            "the program has no predictors",
            "write at least one [[program.predictors]]",
        );
    }
    Some(Draft {
        predictors,
        place: section.place,
    })
}

/// The program in the file that `item` names.
pub(super) fn read_file<'a>(
    item: &Item<'a>,
    sources: &'a Sources,
    types: &mut Types,
    problems: &mut Problems,
) -> Option<Draft<'a>> {
    let path = sibling(item.place.file, item.word(problems)?);
    let (file, node) = sources.document(&path, item, problems)?;
    let root = Section::root(file, node, problems)?;
    // A whole `[program]` table is as good as its content.
    let section = match root.get("program") {
        Some(inner) => {
            root.only(&["program"], problems);
            inner.section(problems)?
        }
        None => root,
    };
    if let Some(inner) = section.get("file") {
        inner.place.report(
            problems,
            "a program file names a further program file",
            "write the predictors there",
        );
        return None;
    }
    read(&section, sources, types, problems)
}

fn read_types(section: &Section<'_>, types: &mut Types, problems: &mut Problems) {
    let Some(table) = section.get("types").and_then(|item| item.section(problems)) else {
        return;
    };
    for (name, item) in table.items() {
        let definition = item.node().to_json();
        if types.written.get(name).is_some_and(|known| *known != definition) {
            let message = format!("the type `{name}` is defined differently elsewhere in this job");
            item.place
                .report(problems, message, "give it another name or the same definition");
        }
        types.written.insert(name.to_owned(), definition);
    }
    match parse_types(&types.written) {
        Ok(parsed) => types.table = parsed,
        Err(errors) => {
            types.broken = true;
            for error in errors {
                let place = table.get(&error.name).map_or(section.place, |item| item.place);
                let remedy = "write `{ enum = [\"red\", \"blue\"] }` or `{ fields = [[\"name\", \"str\"], [\"age\", \"int\", 7]] }`";
                place.report(
                    problems,
                    format!("the type `{}`: {}", error.name, error.reason),
                    remedy,
                );
            }
        }
    }
}

const KEYS: [&str; 9] = [
    "name",
    "module",
    "signature",
    "instructions",
    "desc",
    "demos",
    "config",
    "inputs",
    "repeat",
];

/// DSPy modules that this version does not run.
const LATER: [&str; 8] = [
    "ReAct",
    "ProgramOfThought",
    "MultiChainComparison",
    "BestOfN",
    "Refine",
    "Parallel",
    "CodeAct",
    "RLM",
];

fn predictor<'a>(
    section: &Section<'a>,
    types: &Types,
    problems: &mut Problems,
) -> Option<DraftPredictor<'a>> {
    section.only(&KEYS, problems);
    let name = section.need("name", "\"answer\"", problems).and_then(|item| {
        let name = item.word(problems)?;
        if let Some(why) = super::lm::unfit_for_a_file_name(name) {
            let message = format!("the predictor name `{name}` {why}");
            item.place
                .report(problems, message, "name it as DSPy does: the attribute's name");
        }
        Some(name.to_owned())
    });
    let module = section
        .get("module")
        .and_then(|item| module(&item, problems))
        .unwrap_or(ModuleKind::Predict);
    let text = section.need("signature", "\"question -> answer\"", problems);
    let place = text.as_ref().map_or(section.place, |item| item.place);
    let text = text.and_then(|item| item.word(problems));
    let shape =
        text.filter(|_| !types.broken)
            .and_then(|text| match FieldNames::parse(text, module, &types.table) {
                Ok(shape) => Some(shape),
                Err(why) => {
                    let remedy = "write it as DSPy does: \"question, context: list[str] -> answer: str\"";
                    place.report(
                        problems,
                        format!("the signature `{text}` does not parse: {why}"),
                        remedy,
                    );
                    None
                }
            });
    let mut named = |key: &str| {
        let Some(item) = section.get(key) else {
            return Default::default();
        };
        if let (Some(shape), true) = (&shape, item.is_table()) {
            for (field, at) in item.section(problems).iter().flat_map(Section::items) {
                names_a_field(field, at.place, key, shape, problems);
            }
        }
        item.texts(problems)
    };
    let (desc, inputs) = (named("desc"), named("inputs"));
    let demos = section
        .get("demos")
        .map(|item| demos(&item, problems))
        .unwrap_or_default();
    let instructions = section.get("instructions").and_then(|item| item.text(problems));
    let config = section
        .get("config")
        .map(|item| super::lm::lm_arguments(&item, problems))
        .unwrap_or_default();
    let repeat = section
        .get("repeat")
        .and_then(|item| item.count(1, problems))
        .unwrap_or(1);
    let spec = PredictorSpec {
        name: name?,
        module,
        signature: text?.to_owned(),
        instructions: instructions.map(str::to_owned),
        desc,
        prefix: Default::default(),
        demos,
        config,
        inputs,
        repeat: u32::try_from(repeat).unwrap_or(u32::MAX),
        lm: String::new(),
    };
    Some(DraftPredictor {
        spec,
        shape,
        place: section.place,
    })
}

fn module(item: &Item<'_>, problems: &mut Problems) -> Option<ModuleKind> {
    match item.word(problems)? {
        "Predict" => return Some(ModuleKind::Predict),
        "ChainOfThought" => return Some(ModuleKind::ChainOfThought),
        other if LATER.contains(&other) => {
            let message = format!("the module `{other}` is not supported by this version");
            item.place
                .report(problems, message, "write `Predict` or `ChainOfThought`");
        }
        other => {
            let remedy = nearest(other, ["Predict", "ChainOfThought"].into_iter());
            item.place
                .report(problems, format!("there is no module `{other}`"), remedy);
        }
    }
    None
}

/// Reports a key of `desc`, `inputs` or a demo that is no field; `inputs` renames input fields only.
fn names_a_field(field: &str, place: Place<'_>, key: &str, shape: &FieldNames, problems: &mut Problems) {
    let known = match key {
        "inputs" => shape.inputs.iter().any(|f| f == field),
        _ => shape.fields().any(|f| f == field),
    };
    if !known {
        let remedy = match key {
            "inputs" => nearest(field, shape.inputs.iter().map(String::as_str)),
            _ => nearest(field, shape.fields()),
        };
        place.report(
            problems,
            format!("`{key}` names `{field}`, which is no such field of the signature"),
            remedy,
        );
    }
}

fn demos(item: &Item<'_>, problems: &mut Problems) -> Vec<String> {
    let mut demos = Vec::new();
    for demo in item.list(problems).into_iter().flatten() {
        if demo.section(problems).is_none() {
            continue;
        }
        // A key that names no field is no problem: DSPy passes over it (a warning tells).
        demos.push(demo.node().to_text());
    }
    demos
}
