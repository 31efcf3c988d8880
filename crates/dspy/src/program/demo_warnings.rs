//! Warnings about demo keys that no prompt shows.

use super::ProgramSpec;
use super::build::{demos_of, signature_of};
use crate::signature::parse_types;
use serde_json::{Map, Value as Json};

/// Returns a warning for every demo key that is not a field, because DSPy ignores it. `augmented` is DSPy's own
/// marker.
pub fn unread_demo_keys<'a>(
    programs: impl IntoIterator<Item = &'a ProgramSpec>,
    types: &Map<String, Json>,
) -> Vec<String> {
    let Ok(types) = parse_types(types) else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    for spec in programs.into_iter().flat_map(|program| &program.predictors) {
        let (Ok(signature), Ok(demos)) = (signature_of(spec, &types), demos_of(spec)) else {
            continue;
        };
        let known = |key: &str| key == "augmented" || signature.fields().any(|field| field.name == key);
        for key in demos
            .iter()
            .flat_map(|demo| demo.keys())
            .filter(|key| !known(key))
        {
            let warning = format!(
                "a demo of {} has the key `{key}`, which is not a field: no prompt shows it",
                spec.name
            );
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{ModuleKind, PredictorSpec};

    #[test]
    fn unread_demo_keys_warns_once_per_key_and_ignores_augmented() {
        let predictor = PredictorSpec {
            name: "p".to_owned(),
            module: ModuleKind::ChainOfThought,
            signature: "q -> a".to_owned(),
            instructions: None,
            desc: Default::default(),
            prefix: Default::default(),
            demos: vec![
                r#"{"q": 1, "reasoning": "r", "augmented": true, "answer": 2}"#.to_owned(),
                r#"{"answer": 3}"#.to_owned(),
            ],
            config: Default::default(),
            inputs: Default::default(),
            repeat: 1,
            lm: "l".to_owned(),
        };
        let program = ProgramSpec {
            predictors: vec![predictor],
        };
        assert_eq!(
            unread_demo_keys([&program, &program.clone()], &Map::new()),
            ["a demo of p has the key `answer`, which is not a field: no prompt shows it"]
        );
    }
}
