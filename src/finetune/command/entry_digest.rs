//! The digest of an entry of the `--trainers` file: another digest means another model.

use crate::hex::hex;
use crate::schema::Section;
use crate::schema::document::{Datum, Node};
use crate::value::Value;
use sha2::{Digest as _, Sha256};

/// The digest of the table's values under these keys. All versions must compute the same: a training outlives an upgrade.
pub(super) fn digest(table: &Section<'_>, keys: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for key in keys {
        let text = table.get(key).map(|item| canonical(item.node()));
        hasher.update(format!("{key}={}\n", text.unwrap_or_default()));
    }
    hex(&hasher.finalize())
}

/// The value's text, whatever the order of its tables' keys.
fn canonical(node: &Node) -> String {
    match &node.datum {
        Datum::Table(table) => {
            let mut entries: Vec<String> = table
                .iter()
                .map(|(key, entry)| format!("{key:?}:{}", canonical(&entry.node)))
                .collect();
            entries.sort_unstable();
            format!("{{{}}}", entries.join(","))
        }
        Datum::List(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        // In quotes, so that "1" is not 1.
        Datum::Text(text) => format!("{text:?}"),
        Datum::Bool(flag) => format!("Boolean({flag})"),
        Datum::Number(Value::Float(number)) => format!("Float({number:?})"),
        Datum::Number(Value::Int(number)) => format!("Integer({number})"),
        Datum::Time(text) => match text.parse::<toml::value::Datetime>() {
            Ok(time) => format!("{:?}", toml::Value::Datetime(time)),
            Err(_) => text.clone(),
        },
        Datum::Number(_) | Datum::Null => node.to_text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Problems, document};
    use std::path::Path;

    #[test]
    fn digest_is_the_one_of_earlier_versions() {
        let text = "argv = [\"a\", [\"b\", \"{c}\"]]\ndefaults = { z = 1, y = 0.5, x = true, w = \"1\" }\n";
        let file = Path::new("t.toml");
        let node = document::parse(file, text).unwrap();
        let root = Section::root(file, &node, &mut Problems::default()).unwrap();
        let old: toml::Table = toml::from_str(text).unwrap();
        assert_eq!(
            format!(
                "{:?} {:?} {:?}",
                old["defaults"]["z"], old["defaults"]["y"], old["defaults"]["x"]
            ),
            "Integer(1) Float(0.5) Boolean(true)"
        );
        let wanted = "{\"w\":\"1\",\"x\":Boolean(true),\"y\":Float(0.5),\"z\":Integer(1)}";
        let mut hasher = Sha256::new();
        hasher.update(format!(
            "argv=[\"a\",[\"b\",\"{{c}}\"]]\ndefaults={wanted}\nenv=\n"
        ));
        assert_eq!(
            digest(&root, &["argv", "defaults", "env"]),
            hex(&hasher.finalize())
        );
    }
}
