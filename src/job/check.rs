//! Checks across sections: every name that is used exists, and every value that is read is provided.

use super::Job;
use super::data::Data;
use super::lm::Lms;
use super::plan;
use super::program::Draft;
use crate::finetune::key_name;
use crate::metric::MetricSpec;
use crate::program::Program;
use crate::program::{PredictorSpec, ProgramSpec};
use crate::schema::form::{EitherValue, NamedEntry, Read};
use crate::schema::{Place, Problems, nearest};
use crate::spec::JobSpec;
use indexmap::IndexMap;

/// The value of the key `lm` of a student or teacher: one LM, or one for each predictor.
pub(super) type LmChoice<'a> = Read<'a, EitherValue<&'a str, Vec<NamedEntry<'a, &'a str>>>>;

/// Sets the LM of every predictor of `draft`.
pub(super) fn assign(draft: &mut Draft<'_>, choice: &LmChoice<'_>, lms: &Lms, problems: &mut Problems) {
    let item = &choice.item;
    let entries = match &choice.value {
        EitherValue::Plain(name) => {
            if exists(name, item.place, lms, problems) {
                for predictor in &mut draft.predictors {
                    predictor.spec.lm = (*name).to_owned();
                }
            }
            return;
        }
        EitherValue::Table(entries) => entries,
    };
    for entry in entries {
        let Some(name) = entry.value else { continue };
        exists(name, entry.item.place, lms, problems);
        let mut found = false;
        let own = draft.predictors.iter_mut();
        for predictor in own.filter(|p| answers_to(&p.spec, entry.name)) {
            predictor.spec.lm = name.to_owned();
            found = true;
        }
        if !found {
            let names = draft.predictors.iter().map(|p| p.spec.name.as_str());
            entry.item.place.report(
                problems,
                format!("`{}` names no predictor", entry.item.name),
                nearest(entry.name, names),
            );
        }
    }
    for predictor in draft.predictors.iter().filter(|p| p.spec.lm.is_empty()) {
        let name = &predictor.spec.name;
        let message = format!("the predictor `{name}` has no LM in `{}`", item.name);
        item.place
            .report(problems, message, format!("write `{name} = \"NAME\"` there"));
    }
}

fn answers_to(predictor: &PredictorSpec, key: &str) -> bool {
    predictor.name == key || predictor.predictor_name() == key
}

fn exists(name: &str, place: Place<'_>, lms: &Lms, problems: &mut Problems) -> bool {
    let known = lms.lines.contains_key(name);
    if !known {
        let remedy = nearest(name, lms.lines.keys().map(String::as_str));
        place.report(problems, format!("there is no LM `{name}`"), remedy);
    }
    known
}

/// DSPy's assertions on a teacher: it has as many predictors as the student, with the same names in the same order.
pub(super) fn same_structure(student: &Draft<'_>, teacher: &Draft<'_>, problems: &mut Problems) {
    let names = |draft: &Draft<'_>| {
        draft
            .predictors
            .iter()
            .map(|p| p.spec.predictor_name())
            .collect::<Vec<_>>()
    };
    let (ours, theirs) = (names(student), names(teacher));
    if ours != theirs {
        let message = format!(
            "the teacher's predictors ({}) are not the student's ({})",
            theirs.join(", "),
            ours.join(", ")
        );
        teacher.place.report(
            problems,
            message,
            "give both the same predictors, by name, in the same order",
        );
    }
}

/// Every input field of a predictor is an input column or an earlier predictor's output.
pub(super) fn provided(draft: &Draft<'_>, columns: &[String], problems: &mut Problems) {
    let mut namespace: Vec<&str> = columns.iter().map(String::as_str).collect();
    for predictor in &draft.predictors {
        let Some(shape) = &predictor.shape else { return };
        let own = if predictor.spec.repeat > 1 {
            shape.outputs.as_slice()
        } else {
            &[]
        };
        for field in &shape.inputs {
            let name = predictor.spec.inputs.get(field).unwrap_or(field);
            if !namespace.contains(&name.as_str()) && !own.contains(name) {
                let message = format!("the predictor `{}` is given no `{name}`", predictor.spec.name);
                let remedy = format!(
                    "it can read {}; rename with `inputs = {{ {field} = \"…\" }}` or add a column to `data.inputs`",
                    namespace.join(", ")
                );
                predictor.place.report(problems, message, remedy);
            }
        }
        namespace.extend(shape.outputs.iter().map(String::as_str));
    }
}

/// The metric's field is an output of the program and a column of every example.
pub(super) fn scorable(
    metric: &MetricSpec,
    place: Place<'_>,
    drafts: &[&Draft<'_>],
    data: Option<&Data>,
    problems: &mut Problems,
) {
    let field = &metric.field;
    for draft in drafts {
        let shapes: Option<Vec<_>> = draft.predictors.iter().map(|p| p.shape.as_ref()).collect();
        let Some(shapes) = shapes.filter(|shapes| !shapes.is_empty()) else {
            continue;
        };
        let outputs: Vec<&str> = shapes
            .iter()
            .flat_map(|s| &s.outputs)
            .map(String::as_str)
            .collect();
        if !outputs.contains(&field.as_str()) {
            let message = format!("the metric compares `{field}`, which no predictor outputs");
            place.report(problems, message, nearest(field, outputs.into_iter()));
        }
    }
    let Some(data) = data else { return };
    for set in std::iter::once(&data.trainset).chain(&data.devset) {
        if let Some(line) = set.first_without(field) {
            let labels: Vec<_> = set.labels().iter().map(String::as_str).collect();
            let remedy = format!(
                "add it to every row, or compare a column that all rows have ({})",
                if labels.is_empty() {
                    "there is none".to_owned()
                } else {
                    labels.join(", ")
                }
            );
            problems.add(
                set.path(),
                Some(line),
                format!("this row has no `{field}`, which the metric compares"),
                remedy,
            );
        }
    }
}

/// Every LM of the student has a fine-tune table.
pub(super) fn tunable(student: &ProgramSpec, place: Place<'_>, lms: &Lms, problems: &mut Problems) {
    let mut seen: Vec<&str> = Vec::new();
    for lm in student.predictors.iter().map(|p| p.lm.as_str()) {
        let has_table = lms.finetune.contains_key(lm) || lms.spoilt.iter().any(|s| s == lm);
        let Some(line) = lms.lines.get(lm).filter(|_| !has_table && !seen.contains(&lm)) else {
            continue;
        };
        seen.push(lm);
        let message = format!("the student's LM `{lm}` has no [lm.{lm}.finetune]");
        let remedy = format!(
            "write `[lm.{lm}.finetune]` and under it `provider = \"export\"` (training files only) or another"
        );
        Place { line: *line, ..place }.report(problems, message, remedy);
    }
}

/// No two LM keys have files of the same name. Example: the validation rows of an LM `small`, and the rows of an LM `small.validation`.
pub(super) fn files_apart(
    student: &ProgramSpec,
    multitask: bool,
    place: Place<'_>,
    lms: &Lms,
    problems: &mut Problems,
) {
    let mut keys: IndexMap<String, &str> = IndexMap::new();
    for predictor in &student.predictors {
        let own = predictor.predictor_name();
        keys.insert(
            key_name(&predictor.lm, (!multitask).then_some(&own)),
            &predictor.lm,
        );
    }
    let mut owners: IndexMap<String, String> = IndexMap::new();
    for (key, lm) in keys {
        let files = lms.finetune.get(lm).map(|spec| spec.row_files(&key));
        for file in files.unwrap_or_default() {
            let Some(other) = owners.insert(file.clone(), key.clone()) else {
                continue;
            };
            let message = format!("the rows of `{other}` and of `{key}` would both go to the file {file}");
            let line = lms.lines.get(lm).copied().unwrap_or(place.line);
            Place { line, ..place }.report(problems, message, "give one of the two another name");
        }
    }
}

/// Problems that only show when the programs are built: LM arguments that cannot be sent, demos that no prompt can contain.
pub(super) fn buildable(spec: &JobSpec, places: &[Place<'_>], problems: &mut Problems) {
    // Without teachers the student's program is built twice, for the same section.
    for (program, place) in std::iter::once(&spec.student).chain(&spec.teachers).zip(places) {
        if let Err(error) = Program::build(program, &spec.program_settings()) {
            place.report(
                problems,
                error.to_string(),
                "change this in the program or in the tables that it names",
            );
        }
    }
}

/// A warning is given when fewer examples than this multiple of the provider's minimum could be kept: metrics often reject two thirds.
const CLOSE: u64 = 3;

/// Reports training files that cannot reach the provider's minimum number of rows, and warns of those that may not.
pub(super) fn enough_rows(
    job: &Job,
    lines: &IndexMap<String, u32>,
    place: Place<'_>,
    problems: &mut Problems,
) -> Vec<String> {
    let mut close = Vec::new();
    for plan in plan::training(job) {
        let (Some(finetune), Some(line)) = (job.finetune.get(&plan.lm), lines.get(&plan.lm)) else {
            continue;
        };
        let least = finetune.provider.least_rows();
        if plan.rows_at_most < least {
            let (beside, fewer) = match plan.kept_back {
                0 => (String::new(), ""),
                n => (
                    format!(" beside the {n} that are kept back"),
                    "a smaller `validation_fraction`, ",
                ),
            };
            let message = format!(
                "{} has {} rows at most{beside}, and the provider `{}` takes no fewer than {least}",
                plan.file, plan.rows_at_most, plan.provider
            );
            let remedy = format!("give it more examples, {fewer}or write `provider = \"export\"`");
            Place { line: *line, ..place }.report(problems, message, remedy);
        } else if least > 1 && plan.rows_at_most < least * CLOSE {
            close.push(format!(
                "{} may have too few rows: the provider `{}` needs at least {least}, and at most {} are possible, if the metric keeps them all",
                plan.file, plan.provider, plan.rows_at_most
            ));
        }
    }
    close
}
