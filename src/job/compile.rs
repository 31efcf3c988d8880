//! `[compile]`: how traces become training data.

use crate::adapter::AdapterKind;
use crate::schema::Problems;
use crate::schema::{Section, nearest};

/// What `[compile]` gives.
pub(super) struct Compile {
    pub(super) multitask: bool,
    pub(super) exclude_demos: bool,
    pub(super) adapter: AdapterKind,
    pub(super) max_failure_rate: f64,
}

pub(super) fn read(root: &Section<'_>, problems: &mut Problems) -> Compile {
    let mut compile = Compile {
        multitask: true,
        exclude_demos: false,
        adapter: AdapterKind::Chat,
        max_failure_rate: 1.0,
    };
    let Some(section) = root.get("compile").and_then(|item| item.section(problems)) else {
        return compile;
    };
    section.only(
        &["multitask", "exclude_demos", "adapter", "max_failure_rate"],
        problems,
    );
    let mut flag = |key: &str, default| {
        section
            .get(key)
            .and_then(|item| item.flag(problems))
            .unwrap_or(default)
    };
    compile.multitask = flag("multitask", true);
    compile.exclude_demos = flag("exclude_demos", false);
    if let Some(rate) = section
        .get("max_failure_rate")
        .and_then(|item| item.number(0.0, 1.0, problems))
    {
        compile.max_failure_rate = rate;
    }
    let Some(item) = section.get("adapter") else {
        return compile;
    };
    match item.word(problems) {
        Some("json") => compile.adapter = AdapterKind::Json,
        Some("xml") => compile.adapter = AdapterKind::Xml,
        Some("chat") | None => {}
        Some(other) => {
            let message = format!("there is no adapter `{other}`");
            item.place.report(
                problems,
                message,
                nearest(other, ["chat", "json", "xml"].into_iter()),
            );
        }
    }
    compile
}
