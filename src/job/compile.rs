//! `[compile]`: how traces become training data.

use crate::adapter::AdapterKind;
use crate::schema::{Problems, Values};

/// What `[compile]` gives.
pub(super) struct Compile {
    pub(super) multitask: bool,
    pub(super) exclude_demos: bool,
    pub(super) adapter: AdapterKind,
    pub(super) max_failure_rate: f64,
}

pub(super) fn read(root: &Values<'_>, problems: &mut Problems) -> Compile {
    let table = root.table("compile", problems);
    let table = table.as_ref();
    Compile {
        multitask: table.and_then(|table| table.flag("multitask")).unwrap_or(true),
        exclude_demos: table
            .and_then(|table| table.flag("exclude_demos"))
            .unwrap_or(false),
        adapter: match table.and_then(|table| table.text("adapter")) {
            Some("json") => AdapterKind::Json,
            Some("xml") => AdapterKind::Xml,
            _ => AdapterKind::Chat,
        },
        max_failure_rate: table
            .and_then(|table| table.number("max_failure_rate"))
            .unwrap_or(1.0),
    }
}
