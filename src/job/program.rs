//! Programs: the predictors of `[program]`, of a program file or of a teacher.

use super::job_files::{Sources, sibling};
use super::keys::{FileRoot, PredictorTable, ProgramTable};
use super::signature_fields::FieldNames;
use crate::program::{ModuleKind, PredictorSpec};
use crate::schema::definition::Table as _;
use crate::schema::form::{NamedEntry, Read};
use crate::schema::{Item, Place, Problems, Section, nearest};
use crate::signature::{NamedTypes, parse_types};
use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

/// A program as written, before its LMs are set.
#[derive(Clone)]
pub(super) struct Draft<'a> {
    pub(super) predictors: Vec<DraftPredictor<'a>>,
    /// The place of the program in its file.
    pub(super) place: Place<'a>,
    /// What its saved state has in another form.
    pub(super) warnings: Vec<String>,
}

/// The named types of a job.
#[derive(Default)]
pub(super) struct Types {
    /// The types as written, of all programs.
    pub(super) written: Map<String, Json>,
    table: NamedTypes,
    /// Whether some types do not parse, so that signatures cannot be checked.
    broken: bool,
}

/// A predictor as written; `spec.lm` is still empty.
#[derive(Clone)]
pub(super) struct DraftPredictor<'a> {
    pub(super) spec: PredictorSpec,
    /// `None` if the signature does not parse.
    pub(super) shape: Option<FieldNames>,
    pub(super) place: Place<'a>,
}

/// Reads a `[program]` table. Adds the types that it defines to `types`.
pub(super) fn draft<'a>(
    table: &ProgramTable<'a>,
    sources: &'a Sources,
    types: &mut Types,
    problems: &mut Problems,
) -> Option<Draft<'a>> {
    let section = &table.section;
    if section.get("python").is_some() {
        return None;
    }
    if let Some(file) = section.get("file") {
        for key in ["predictors", "types"] {
            if let Some(other) = section.get(key) {
                let message = format!("`{}` stands beside `{}`", other.name, file.name);
                other.place.report(
                    problems,
                    message,
                    "write the program here or in the file, not both",
                );
            }
        }
        let name = table.file.as_ref()?.value;
        return draft_of_file(name, &file, sources, types, problems);
    }
    if let Some(table) = &table.types {
        read_types(&table.value, types, problems);
    }
    let list = section.need(
        "predictors",
        "[{ name = \"answer\", signature = \"question -> answer\" }]",
        problems,
    )?;
    let mut predictors: Vec<DraftPredictor<'_>> = Vec::new();
    for read in &table.predictors.as_ref()?.value {
        if let Some(one) = predictor(&read.value, types, problems) {
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
    if predictors.len() > 1
        && let Some(whole) = predictors.iter().find(|p| p.spec.is_program())
    {
        whole.place.report(
            problems,
            "the predictor `self` is the program itself, and there are others beside it",
            "name it as DSPy does: the attribute's name",
        );
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
        warnings: Vec::new(),
    })
}

/// Reads the program file that the job names.
pub(super) fn draft_of_file<'a>(
    name: &str,
    item: &Item<'a>,
    sources: &'a Sources,
    types: &mut Types,
    problems: &mut Problems,
) -> Option<Draft<'a>> {
    let path = sibling(item.place.file, name);
    let (file, node) = sources.document(&path, item, problems)?;
    let root = Section::root(file, node, problems)?;
    // A file may contain a whole `[program]` table, or only its content.
    let table = if root.get("program").is_some() {
        FileRoot::read(&root, problems).program?.value
    } else {
        ProgramTable::read(&root, problems)
    };
    if let Some(inner) = table.section.get("file") {
        inner.place.report(
            problems,
            "a program file names a further program file",
            "write the predictors there",
        );
        return None;
    }
    draft(&table, sources, types, problems)
}

fn read_types(table: &Section<'_>, types: &mut Types, problems: &mut Problems) {
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
                let place = table.get(&error.name).map_or(table.place, |item| item.place);
                let remedy = "write `{ enum = [\"red\", \"blue\"] }` or \
                              `{ fields = [[\"name\", \"str\"], { name = \"age\", type = \"int\", default = 7, ge = 0 }] }`";
                place.report(
                    problems,
                    format!("the type `{}`: {}", error.name, error.reason),
                    remedy,
                );
            }
        }
    }
}

fn predictor<'a>(
    table: &PredictorTable<'a>,
    types: &Types,
    problems: &mut Problems,
) -> Option<DraftPredictor<'a>> {
    let name = table.name.as_ref().map(|name| {
        if let Some(why) = super::lm::unfit_for_a_file_name(name.value) {
            let message = format!("the predictor name `{}` {why}", name.value);
            name.report(problems, message, "name it as DSPy does: the attribute's name");
        }
        name.value.to_owned()
    });
    let module = table
        .module
        .as_ref()
        .map_or(ModuleKind::Predict, |module| module.value);
    let signature = table.signature.as_ref();
    let shape = signature.filter(|_| !types.broken).and_then(|signature| {
        let text = signature.value;
        let parsed = FieldNames::parse(text, module, &types.table);
        parsed
            .map_err(|why| {
                let remedy = "write it as DSPy does: \"question, context: list[str] -> answer: str\"";
                signature.report(
                    problems,
                    format!("the signature `{text}` does not parse: {why}"),
                    remedy,
                );
            })
            .ok()
    });
    let mut named = |key: &str, entries: &Option<Read<'a, Vec<NamedEntry<'a, &'a str>>>>| {
        let entries = entries.iter().flat_map(|entries| &entries.value);
        let mut texts = IndexMap::new();
        for entry in entries {
            if let Some(shape) = &shape {
                names_a_field(entry.name, entry.item.place, key, shape, problems);
            }
            if let Some(text) = entry.value {
                texts.insert(entry.name.to_owned(), text.to_owned());
            }
        }
        texts
    };
    let (desc, inputs) = (named("desc", &table.desc), named("inputs", &table.inputs));
    // A key that is not a field is not a problem: DSPy ignores it, and building the program gives a warning.
    let demos = table.demos.iter().flat_map(|list| &list.value);
    let config = table.config.as_ref();
    let repeat = table.repeat.as_ref().map_or(1, |repeat| repeat.value);
    let spec = PredictorSpec {
        name: name?,
        module,
        signature: signature?.value.to_owned(),
        instructions: table.instructions.as_ref().map(|text| text.value.to_owned()),
        desc,
        prefix: Default::default(),
        demos: demos.map(|demo| demo.item.node().to_text()).collect(),
        config: config
            .map(|table| super::lm::lm_arguments(&table.value, problems))
            .unwrap_or_default(),
        inputs,
        repeat: u32::try_from(repeat).unwrap_or(u32::MAX),
        lm: String::new(),
    };
    Some(DraftPredictor {
        spec,
        shape,
        place: table.section.place,
    })
}

/// Reports keys of `desc`, `inputs` or a demo that are not fields. `inputs` renames input fields only.
fn names_a_field(field: &str, place: Place<'_>, key: &str, shape: &FieldNames, problems: &mut Problems) {
    let known = match key {
        "inputs" => shape.inputs.iter().any(|f| f == field),
        _ => shape.fields().any(|f| f == field),
    };
    if !known {
        let (kind, remedy) = match key {
            "inputs" => (
                "an input field",
                nearest(field, shape.inputs.iter().map(String::as_str)),
            ),
            _ => ("a field", nearest(field, shape.fields())),
        };
        place.report(
            problems,
            format!("`{key}` names `{field}`, which is not {kind} of the signature"),
            remedy,
        );
    }
}
