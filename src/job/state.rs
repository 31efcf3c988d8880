//! DSPy's saved state: its instructions, field descriptions and demos replace those of a program.

use super::job_files::{Sources, sibling};
use super::program::{Draft, DraftPredictor};
use crate::schema::form::Read;
use crate::schema::{Item, Problems, Section};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Keys of a predictor that only a DSPy before 2.6 saved.
const OLD_KEYS: [&str; 2] = ["extended_signature", "signature_instructions"];

/// Reads the state file that `name` names into `draft`, like `program.load(...)`. LMs in the state are ignored.
pub(super) fn take(draft: &mut Draft<'_>, name: &Read<'_, &str>, sources: &Sources, problems: &mut Problems) {
    let path = sibling(name.place().file, name.value);
    if let Some((what, remedy)) = other_form(&path) {
        let message = format!("`{}`: {} {what}", name.name(), path.display());
        name.report(problems, message, remedy);
        return;
    }
    let Some((file, node)) = sources.document(&path, &name.item, problems) else {
        return;
    };
    let Some(root) = Section::root(file, node, problems) else {
        return;
    };
    if let Some(key) = old_key(&root) {
        let dspy = dspy_version(&root).map_or("a DSPy before 2.6".to_owned(), |version| {
            format!("DSPy {version}")
        });
        key.place.report(
            problems,
            format!("this state was saved by {dspy}, which DSPy 3 does not load either"),
            "save the program again with DSPy 2.6 or later, or write its instructions and demos into the job file",
        );
        return;
    }
    let is_only = draft.predictors.len() == 1;
    for predictor in &mut draft.predictors {
        let name = predictor.spec.predictor_name();
        let section = match root.get(&name) {
            Some(item) => item.section(problems),
            None if name == "self" && is_flat(&root) => Some(root.clone()),
            None => {
                let message = format!("the saved state has no predictor `{name}`");
                root.place.report(problems, message, how_to_name(&root, is_only));
                None
            }
        };
        if let Some(section) = section {
            draft.warnings.extend(replace(predictor, &section, problems));
        }
    }
}

/// What the path leads to, if that is another form in which DSPy saves programs, and what to do.
fn other_form(path: &Path) -> Option<(&'static str, &'static str)> {
    if path.join("program.pkl").exists() {
        return Some((
            "is a folder with a pickle, as `save_program=True` writes it",
            "in DSPy, load it with `dspy.load` and write the state as JSON: `program.save(\"state.json\")`",
        ));
    }
    let mut start = [0; 2];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .ok()?;
    // The opcode of a pickle's protocol, and its number.
    matches!(start, [0x80, 2..=5]).then_some((
        "is a pickle",
        "in DSPy, load it into the program and write the state as JSON: `program.save(\"state.json\")`",
    ))
}

/// The first key that only an old DSPy saved, of the state or of one of its predictors.
fn old_key<'a>(root: &Section<'a>) -> Option<Item<'a>> {
    let entries = root.items().filter_map(|(_, item)| table(&item));
    let mut sections = std::iter::once(root.clone()).chain(entries);
    sections.find_map(|section| OLD_KEYS.iter().find_map(|key| section.get(key)))
}

/// The version of the DSPy that saved the state.
fn dspy_version<'a>(root: &Section<'a>) -> Option<&'a str> {
    let metadata = table(&root.get("metadata")?)?;
    let versions = table(&metadata.get("dependency_versions")?)?;
    versions.get("dspy")?.text(&mut Problems::default())
}

fn table<'a>(item: &Item<'a>) -> Option<Section<'a>> {
    item.section(&mut Problems::default())
}

/// Whether the state is that of a bare `dspy.Predict`, which has no predictor names.
fn is_flat(root: &Section<'_>) -> bool {
    root.get("signature").is_some_and(|item| item.is_table())
}

/// How the predictors of a state are to be called. `is_only`: the program has one predictor.
fn how_to_name(root: &Section<'_>, is_only: bool) -> String {
    let keys = root.items().map(|(key, _)| key);
    let known: Vec<_> = keys.filter(|key| *key != "metadata").collect();
    let bare = match known.as_slice() {
        [] => return "give a file that DSPy's `program.save(\"….json\")` wrote".to_owned(),
        _ if is_flat(root) => "Predict",
        ["predict"] => "ChainOfThought",
        _ => "",
    };
    if is_only && !bare.is_empty() {
        return format!(
            "it is the state of a bare `dspy.{bare}`: write `name = \"self\"` and `module = \"{bare}\"`"
        );
    }
    format!(
        "it has {}; name the predictors as the saved program does",
        known.join(", ")
    )
}

/// Replaces what a saved predictor has. Returns a warning if it has more or fewer fields than the signature.
fn replace(
    predictor: &mut DraftPredictor<'_>,
    saved: &Section<'_>,
    problems: &mut Problems,
) -> Option<String> {
    let wanted = "{ \"instructions\": …, \"fields\": […] }";
    let signature = saved
        .need("signature", wanted, problems)
        .and_then(|item| item.section(problems))?;
    if let Some(item) = signature.need("instructions", "…", problems) {
        predictor.spec.instructions = item.text(problems).map(str::to_owned);
    }
    let fields = signature
        .need("fields", "[…]", problems)
        .and_then(|item| item.list(problems));
    let count = fields.as_ref().map_or(0, Vec::len);
    let names = predictor.shape.iter().flat_map(|shape| shape.fields());
    let wanted = names.clone().count();
    // DSPy pairs the fields by position and ignores surplus ones.
    for (field, saved) in names.zip(fields.into_iter().flatten()) {
        let Some(saved) = saved.section(problems) else {
            continue;
        };
        let mut text = |key: &str| Some((field.to_owned(), saved.get(key)?.text(problems)?.to_owned()));
        predictor.spec.desc.extend(text("description"));
        predictor.spec.prefix.extend(text("prefix"));
    }
    if let Some(item) = saved.get("demos") {
        let demos = item.list(problems).into_iter().flatten();
        let text = |demo: Item<'_>| demo.section(problems).map(|_| demo.node().to_text());
        predictor.spec.demos = demos.filter_map(text).collect();
    }
    (predictor.shape.is_some() && count != wanted).then(|| {
        format!(
            "{}:{}: the saved predictor `{}` has {count} fields, and the signature {wanted}: they are paired by position, as in DSPy",
            signature.place.file.display(),
            signature.place.line,
            predictor.spec.predictor_name()
        )
    })
}
