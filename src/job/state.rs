//! DSPy's saved state: its instructions, field descriptions and demos replace those of a program.

use super::job_files::{Sources, sibling};
use super::program::Draft;
use crate::schema::form::Read;
use crate::schema::{Item, Problems, Section};

/// Reads the state file that `name` names into `draft`, like `program.load(...)`. LMs in the state are ignored.
pub(super) fn take(draft: &mut Draft<'_>, name: &Read<'_, &str>, sources: &Sources, problems: &mut Problems) {
    let path = sibling(name.place().file, name.value);
    let Some((file, node)) = sources.document(&path, &name.item, problems) else {
        return;
    };
    let Some(root) = Section::root(file, node, problems) else {
        return;
    };
    for predictor in &mut draft.predictors {
        let name = predictor.spec.predictor_name();
        // The state of a bare `dspy.Predict` is flat: it has no predictor names.
        let section = match root.get(&name) {
            Some(item) => item.section(problems),
            None if name == "self" && root.get("signature").is_some() => Some(root.clone()),
            None => {
                let message = format!("the saved state has no predictor `{name}`");
                let known: Vec<_> = root
                    .items()
                    .map(|(key, _)| key)
                    .filter(|key| *key != "metadata")
                    .collect();
                let remedy = if known.is_empty() {
                    "give a file that DSPy's `program.save(\"….json\")` wrote".to_owned()
                } else {
                    format!(
                        "it has {}; name the predictors as the saved program does",
                        known.join(", ")
                    )
                };
                root.place.report(problems, message, remedy);
                None
            }
        };
        let Some(section) = section else { continue };
        if let Some(item) = section.get("extended_signature") {
            let message = "this state was saved by a DSPy before 2.6, which DSPy 3 does not load either";
            item.place
                .report(problems, message, "save the program again with DSPy 3");
            continue;
        }
        let wanted = "{ \"instructions\": …, \"fields\": […] }";
        let Some(signature) = section
            .need("signature", wanted, problems)
            .and_then(|s| s.section(problems))
        else {
            continue;
        };
        if let Some(item) = signature.need("instructions", "…", problems) {
            predictor.spec.instructions = item.text(problems).map(str::to_owned);
        }
        let saved = signature
            .need("fields", "[…]", problems)
            .and_then(|item| item.list(problems));
        let names = predictor.shape.iter().flat_map(|shape| shape.fields());
        // DSPy pairs the fields by position and ignores surplus ones.
        for (field, saved) in names.zip(saved.into_iter().flatten()) {
            let Some(saved) = saved.section(problems) else {
                continue;
            };
            if let Some(item) = saved.get("description") {
                predictor
                    .spec
                    .desc
                    .extend(item.text(problems).map(|t| (field.to_owned(), t.to_owned())));
            }
            if let Some(item) = saved.get("prefix") {
                predictor
                    .spec
                    .prefix
                    .extend(item.text(problems).map(|t| (field.to_owned(), t.to_owned())));
            }
        }
        if let Some(item) = section.get("demos") {
            let demos = item.list(problems).into_iter().flatten();
            let text = |demo: Item<'_>| demo.section(problems).map(|_| demo.node().to_text());
            predictor.spec.demos = demos.filter_map(text).collect();
        }
    }
}
