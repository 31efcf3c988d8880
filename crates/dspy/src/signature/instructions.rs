//! Instructions: DSPy's default text, and `inspect.cleandoc`, which DSPy applies on each access.

use super::Field;
use bsft_pycompat::text;

/// The default instructions.
pub(super) fn default(inputs: &[Field], outputs: &[Field]) -> String {
    let names = |fields: &[Field]| {
        fields
            .iter()
            .map(|field| format!("`{}`", field.name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!(
        "Given the fields {}, produce the fields {}.",
        names(inputs),
        names(outputs)
    )
}

/// `inspect.cleandoc` of CPython 3.11. It is not idempotent, because the result may itself be indented.
pub(super) fn clean(doc: &str) -> String {
    let expanded = text::expand_tabs(doc, 8);
    let mut lines: Vec<&str> = expanded.split('\n').collect();
    let indent = |line: &str| {
        let content = text::lstrip(line);
        (!content.is_empty()).then(|| line.chars().count() - content.chars().count())
    };
    let margin = lines[1..].iter().filter_map(|line| indent(line)).min();
    lines[0] = text::lstrip(lines[0]);
    if let Some(margin) = margin {
        for line in &mut lines[1..] {
            let cut = line.char_indices().nth(margin).map_or(line.len(), |(at, _)| at);
            *line = &line[cut..];
        }
    }
    let end = lines
        .iter()
        .rposition(|line| !line.is_empty())
        .map_or(0, |last| last + 1);
    let start = lines[..end]
        .iter()
        .position(|line| !line.is_empty())
        .unwrap_or(end);
    lines[start..end].join("\n")
}
