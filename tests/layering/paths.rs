//! The paths that a file uses, and the file that defines what each of them names.

use crate::sources::{File, Sources};
use std::collections::BTreeMap;

/// A path that a file uses, segment by segment.
pub(crate) type UsedPath = Vec<String>;

/// The imports of a file by the name that each brings, and the paths that stand elsewhere in its code.
pub(crate) struct Uses {
    /// Name to path as written; a name may stand for several things (a module and a function).
    imports: Vec<(String, UsedPath)>,
    inline: Vec<UsedPath>,
}

impl Uses {
    /// What a file uses.
    pub(crate) fn parse(file: &File) -> Uses {
        let mut uses = Uses {
            imports: Vec::new(),
            inline: Vec::new(),
        };
        let mut rest = file.code.as_str();
        while let Some(at) = next_use(rest) {
            uses.inline.extend(inline(&rest[..at]));
            let end = rest[at..].find(';').map_or(rest.len(), |end| at + end);
            let tree: String = rest[at + "use ".len()..end]
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            expand(&tree, &[], &mut uses.imports);
            rest = &rest[end..];
        }
        uses.inline.extend(inline(rest));
        uses
    }

    /// All paths, as written.
    pub(crate) fn all(&self) -> impl Iterator<Item = &UsedPath> {
        self.imports.iter().map(|(_, path)| path).chain(&self.inline)
    }
}

/// Where the next `use` item starts.
fn next_use(code: &str) -> Option<usize> {
    code.match_indices("use ").map(|(at, _)| at).find(|at| {
        let before = code[..*at].trim_end_matches(' ').chars().next_back();
        before.is_none_or(|c| c == '\n' || c == '{' || c == '}' || c == ';')
            || code[..*at].trim_end().ends_with("pub")
            || code[..*at].trim_end().ends_with(')') && code[..*at].ends_with(' ')
    })
}

/// The paths of a use tree, with the name that each brings.
fn expand(tree: &str, prefix: &[String], out: &mut Vec<(String, UsedPath)>) {
    let tree = tree.trim();
    if let Some((head, group)) = tree.split_once('{') {
        let mut prefix = prefix.to_vec();
        prefix.extend(segments(head));
        let group = group.strip_suffix('}').unwrap_or(group);
        let (mut depth, mut start) = (0, 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&group[start..at], &prefix, out);
                    start = at + 1;
                }
                _ => {}
            }
        }
        expand(&group[start..], &prefix, out);
    } else if !tree.is_empty() {
        let (path, renamed) = match tree.split_once(" as ") {
            Some((path, name)) => (path, Some(name.trim())),
            None => (tree, None),
        };
        let mut full = prefix.to_vec();
        full.extend(segments(path));
        if full.len() > 1 && full.last().is_some_and(|last| last == "self") {
            full.pop();
        }
        let name = renamed.map_or_else(|| full.last().cloned(), |name| Some(name.to_owned()));
        out.push((name.expect("a path has a segment"), full));
    }
}

fn segments(path: &str) -> impl Iterator<Item = String> {
    path.split("::")
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
}

/// Paths of two segments or more outside of `use`.
fn inline(code: &str) -> Vec<UsedPath> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split(|c| !is_part(c))
        .filter(|word| word.contains("::"))
        .map(|word| segments(word).collect())
        .collect()
}

/// All uses of a crate, ready to be followed.
pub(crate) struct Crate<'a> {
    sources: &'a Sources,
    uses: BTreeMap<&'a [String], Uses>,
}

impl<'a> Crate<'a> {
    /// Reads the uses of all files.
    pub(crate) fn new(sources: &'a Sources) -> Crate<'a> {
        let uses = sources
            .files
            .iter()
            .map(|(module, file)| (module.as_slice(), Uses::parse(file)))
            .collect();
        Crate { sources, uses }
    }

    /// The modules whose files define what the module's file uses, re-exports followed; its own is left out.
    pub(crate) fn used_by(&self, module: &[String]) -> Vec<(&UsedPath, Vec<String>)> {
        let uses = &self.uses[module];
        uses.all()
            .filter_map(|path| Some((path, self.definition(module, path, 0)?)))
            .filter(|(_, definition)| definition != module)
            .collect()
    }

    /// The module whose file defines what the path names in `module`; `None` if that is not in this crate.
    fn definition(&self, module: &[String], path: &[String], depth: u32) -> Option<Vec<String>> {
        if depth > 16 {
            return None;
        }
        let (first, rest) = path.split_first()?;
        let (mut at, mut rest) = match first.as_str() {
            "crate" => (Vec::new(), rest),
            "self" => (module.to_vec(), rest),
            "super" => (module[..module.len().checked_sub(1)?].to_vec(), rest),
            name if self.has_child(module, name) => (module.to_vec(), path),
            // A name that the file imported.
            name => {
                let (_, import) = self
                    .uses
                    .get(module)?
                    .imports
                    .iter()
                    .find(|(known, _)| known == name)?;
                if import.first() == Some(first) && import.len() == 1 {
                    return None;
                }
                let mut longer = import.clone();
                longer.extend_from_slice(rest);
                return self.definition(module, &longer, depth + 1);
            }
        };
        while let Some((name, further)) = rest.split_first() {
            if name == "super" {
                at.pop();
            } else if self.has_child(&at, name) {
                at.push(name.clone());
            } else if let Some((_, target)) = self
                .uses
                .get(at.as_slice())?
                .imports
                .iter()
                .find(|(known, _)| known == name)
            {
                let mut longer = target.clone();
                longer.extend_from_slice(further);
                return self.definition(&at, &longer, depth + 1);
            } else {
                break;
            }
            rest = further;
        }
        Some(at)
    }

    fn has_child(&self, module: &[String], name: &str) -> bool {
        let mut child = module.to_vec();
        child.push(name.to_owned());
        self.sources.files.contains_key(&child)
    }
}
