//! `[metric]`: what is compared, and from which score on it is kept.

use crate::metric::{MetricKind, MetricSpec};
use crate::schema::Problems;
use crate::schema::{Place, Values};

const KINDS: [(&str, MetricKind); 4] = [
    ("equals", MetricKind::Equals),
    ("exact_match", MetricKind::ExactMatch),
    ("f1", MetricKind::F1),
    ("contains", MetricKind::Contains),
];

/// The metric and the line that names its field.
pub(super) fn read<'a>(root: &Values<'a>, problems: &mut Problems) -> Option<(MetricSpec, Place<'a>)> {
    let table = root.table("metric", problems)?;
    let mut threshold = table.number("threshold");
    let mut found = None;
    for (key, kind) in KINDS {
        let Some(item) = table.section().get(key) else {
            continue;
        };
        if found.is_some() {
            let message = format!("`{}` is a second metric", item.name);
            item.place.report(problems, message, "keep one");
            continue;
        }
        let field = if item.is_table() {
            let scored = table.table(key, problems);
            threshold = scored
                .as_ref()
                .and_then(|scored| scored.number("threshold"))
                .or(threshold);
            scored.and_then(|scored| scored.text("field"))
        } else {
            table.text(key)
        };
        found = Some((kind, field, item.place));
    }
    let Some((kind, field, place)) = found else {
        let is_refused = ["judge", "python"]
            .iter()
            .any(|key| table.section().get(key).is_some());
        if !is_refused {
            let remedy = "write `exact_match = \"FIELD\"` (or equals, f1, contains), or leave [metric] out to keep every trace";
            table.place().report(problems, "[metric] names no metric", remedy);
        }
        return None;
    };
    let field = field?.to_owned();
    Some((
        MetricSpec {
            kind,
            field,
            threshold,
        },
        place,
    ))
}
