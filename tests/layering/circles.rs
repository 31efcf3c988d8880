//! No circles: the children of a module may use each other in one direction only.
//!
//! A module and its own children count as one: they may use each other.

use crate::paths::Crate;
use crate::sources::{Sources, folders};
use std::collections::{BTreeMap, BTreeSet};

/// Circles that are the shape of the problem, by the module whose children they join, and why.
const RECURSIONS: [(&str, &str); 1] = [(
    "crates/dspy/src: crate::signature::coerce",
    "a type has parts that are types: a union tries its members, each of which may be a union again",
)];

/// What a module uses: used module, and a file with a path as an example.
type Used = BTreeMap<String, String>;

/// The children of a module and what each uses of the others: child, used child, and a file with the path as an example.
fn between_children(krate: &Crate<'_>, sources: &Sources) -> BTreeMap<String, BTreeMap<String, Used>> {
    let mut graphs: BTreeMap<String, BTreeMap<String, Used>> = BTreeMap::new();
    for (module, file) in &sources.files {
        for (path, definition) in krate.used_by(module) {
            let shared = module.iter().zip(&definition).take_while(|(a, b)| a == b).count();
            // A module may use its children, and they what it defines itself: they are one thing.
            let (Some(user), Some(used)) = (module.get(shared), definition.get(shared)) else {
                continue;
            };
            let parent = std::iter::once("crate").chain(module[..shared].iter().map(String::as_str));
            let example = format!("{} uses {}", file.path.display(), path.join("::"));
            graphs
                .entry(parent.collect::<Vec<_>>().join("::"))
                .or_default()
                .entry(user.clone())
                .or_default()
                .entry(used.clone())
                .or_insert(example);
        }
    }
    graphs
}

/// The nodes from which a node can be reached again, grouped by circle.
fn circles(graph: &BTreeMap<String, Used>) -> Vec<BTreeSet<&str>> {
    let reach = |start: &str| {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = graph
            .get(start)
            .into_iter()
            .flat_map(|used| used.keys())
            .map(String::as_str)
            .collect();
        while let Some(node) = open.pop() {
            if seen.insert(node) {
                open.extend(
                    graph
                        .get(node)
                        .into_iter()
                        .flat_map(|used| used.keys())
                        .map(String::as_str),
                );
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|node| (node.as_str(), reach(node))).collect();
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    for (node, of_node) in &reached {
        let circle: BTreeSet<&str> = of_node
            .iter()
            .copied()
            .filter(|other| reached.get(other).is_some_and(|back| back.contains(node)))
            .collect();
        if !circle.is_empty() && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

#[test]
fn children_of_a_module_use_each_other_without_a_circle() {
    let mut found = Vec::new();
    for folder in folders() {
        let sources = Sources::read(&folder);
        for (parent, graph) in between_children(&Crate::new(&sources), &sources) {
            for circle in circles(&graph) {
                let place = format!("{}: {parent}", folder.display());
                if RECURSIONS.iter().any(|(known, _)| *known == place) {
                    continue;
                }
                let edges = graph
                    .iter()
                    .filter(|(user, _)| circle.contains(user.as_str()))
                    .flat_map(|(user, used)| {
                        let inside = used.iter().filter(|(used, _)| circle.contains(used.as_str()));
                        inside.map(move |(used, example)| format!("\n    {user} -> {used}: {example}"))
                    });
                found.push(format!("{place}: {circle:?}{}", edges.collect::<String>()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
