//! `[metric]`: what is compared, and from which score on it is kept.

use crate::metric::{MetricKind, MetricSpec};
use crate::schema::Problems;
use crate::schema::{Place, Section};

const KINDS: [(&str, MetricKind); 4] = [
    ("equals", MetricKind::Equals),
    ("exact_match", MetricKind::ExactMatch),
    ("f1", MetricKind::F1),
    ("contains", MetricKind::Contains),
];

/// The metric and the line that names its field.
pub(super) fn read<'a>(root: &Section<'a>, problems: &mut Problems) -> Option<(MetricSpec, Place<'a>)> {
    let section = root.get("metric")?.section(problems)?;
    section.only(
        &[
            "equals",
            "exact_match",
            "f1",
            "contains",
            "judge",
            "python",
            "threshold",
        ],
        problems,
    );
    for key in ["judge", "python"] {
        if let Some(item) = section.get(key) {
            let message = format!("the metric `{key}` is not supported by this version");
            item.place
                .report(problems, message, "write equals, exact_match, f1 or contains");
        }
    }
    let mut threshold = section
        .get("threshold")
        .and_then(|item| item.number(0.0, 1.0, problems));
    let mut found = None;
    for (key, kind) in KINDS {
        let Some(item) = section.get(key) else { continue };
        if found.is_some() {
            item.place.report(
                problems,
                format!("`{}` is a second metric", item.name),
                "keep one",
            );
            continue;
        }
        let field = if item.is_table() {
            let table = item.section(problems)?;
            table.only(&["field", "threshold"], problems);
            if let Some(own) = table.get("threshold") {
                threshold = own.number(0.0, 1.0, problems);
            }
            table
                .need("field", "\"answer\"", problems)
                .and_then(|field| field.word(problems))
        } else {
            item.word(problems)
        };
        found = Some((kind, field, item.place));
    }
    let Some((kind, field, place)) = found else {
        if section.get("judge").or(section.get("python")).is_none() {
            let remedy = "write `exact_match = \"FIELD\"` (or equals, f1, contains), or leave [metric] out to keep every trace";
            section.place.report(problems, "[metric] names no metric", remedy);
        }
        return None;
    };
    Some((
        MetricSpec {
            kind,
            field: field?.to_owned(),
            threshold,
        },
        place,
    ))
}
