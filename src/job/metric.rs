//! `[metric]`: the fields that are compared, and the lowest score that is kept.

use super::keys::MetricTable;
use crate::metric::{MetricKind, MetricSpec};
use crate::schema::form::EitherValue;
use crate::schema::{Place, Problems};

/// The metric and the line that names its field.
pub(super) fn metric<'a>(
    table: Option<MetricTable<'a>>,
    problems: &mut Problems,
) -> Option<(MetricSpec, Place<'a>)> {
    let table = table?;
    let section = table.section;
    let mut threshold = table.threshold.map(|threshold| threshold.value);
    let mut found = None;
    for (key, kind, value) in [
        ("equals", MetricKind::Equals, table.equals),
        ("exact_match", MetricKind::ExactMatch, table.exact_match),
        ("f1", MetricKind::F1, table.f1),
        ("contains", MetricKind::Contains, table.contains),
    ] {
        let Some(item) = section.get(key) else { continue };
        if found.is_some() {
            item.place.report(
                problems,
                format!("`{}` is a second metric", item.name),
                "keep one",
            );
            continue;
        }
        let field = match value.map(|value| value.value) {
            Some(EitherValue::Plain(field)) => Some(field),
            Some(EitherValue::Table(table)) => {
                if let Some(own) = table.threshold {
                    threshold = Some(own.value);
                }
                table.field.map(|field| field.value)
            }
            None => None,
        };
        found = Some((kind, field, item.place));
    }
    let Some((kind, field, place)) = found else {
        // Reading the table has already reported metrics of other versions.
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
