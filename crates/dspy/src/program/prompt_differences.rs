//! What two programs ask of an LM in different words, apart from their demos.

use super::build::signature_of;
use super::{ProgramSettings, ProgramSpec};
use crate::signature::parse_types;

/// The part of a predictor's system message that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptPart {
    /// The instructions.
    Instructions,
    /// The fields: their names, descriptions or types.
    Fields,
}

/// Returns each predictor whose system message is not that of the student's predictor at its position, and what differs.
/// Predictors that cannot be built are left out.
pub fn prompt_differences(
    student: &ProgramSpec,
    teacher: &ProgramSpec,
    settings: &ProgramSettings<'_>,
) -> Vec<(String, PromptPart)> {
    let Ok(types) = parse_types(settings.types) else {
        return Vec::new();
    };
    let adapter = settings.adapter.adapter();
    let pairs = student.predictors.iter().zip(&teacher.predictors);
    let difference = pairs.filter_map(|(ours, theirs)| {
        let name = theirs.predictor_name();
        let (ours, theirs) = (
            signature_of(ours, &types).ok()?,
            signature_of(theirs, &types).ok()?,
        );
        if ours.instructions != theirs.instructions {
            return Some((name, PromptPart::Instructions));
        }
        let (ours, theirs) = (
            adapter.prelude(&ours, &[]).ok()?,
            adapter.prelude(&theirs, &[]).ok()?,
        );
        let system =
            |messages: Vec<crate::adapter::Message>| messages.into_iter().map(|message| message.content);
        (!system(ours).eq(system(theirs))).then_some((name, PromptPart::Fields))
    });
    difference.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::AdapterKind;
    use crate::program::{ModuleKind, PredictorSpec};

    fn predictor(signature: &str, instructions: Option<&str>, desc: &[(&str, &str)]) -> PredictorSpec {
        PredictorSpec {
            name: "p".to_owned(),
            module: ModuleKind::ChainOfThought,
            signature: signature.to_owned(),
            instructions: instructions.map(str::to_owned),
            desc: desc
                .iter()
                .map(|(field, text)| ((*field).to_owned(), (*text).to_owned()))
                .collect(),
            prefix: Default::default(),
            demos: Vec::new(),
            config: Default::default(),
            inputs: Default::default(),
            repeat: 1,
            lm: "l".to_owned(),
        }
    }

    #[test]
    fn prompt_differences_finds_instructions_and_fields_but_no_demos() {
        let settings = ProgramSettings {
            types: &Default::default(),
            adapter: AdapterKind::Chat,
            exclude_demos: false,
            lms: Vec::new(),
        };
        let student = predictor("q -> a", Some("Sort."), &[]);
        let mut with_demos = student.clone();
        with_demos.demos.push("{\"q\": 1, \"a\": 2}".to_owned());
        with_demos.prefix.insert("a".to_owned(), "Label:".to_owned());
        for (teacher, wanted) in [
            (student.clone(), None),
            (with_demos, None),
            (predictor("q -> a", Some("  Sort.\n"), &[]), None),
            (predictor("q -> a", None, &[]), Some(PromptPart::Instructions)),
            (
                predictor("q -> a", Some("Sort well."), &[("a", "one word")]),
                Some(PromptPart::Instructions),
            ),
            (
                predictor("q -> a", Some("Sort."), &[("a", "one word")]),
                Some(PromptPart::Fields),
            ),
            (
                predictor("q -> a: int", Some("Sort."), &[]),
                Some(PromptPart::Fields),
            ),
        ] {
            let programs = [student.clone(), teacher].map(|predictor| ProgramSpec {
                predictors: vec![predictor],
            });
            let [student, teacher] = &programs;
            let found = prompt_differences(student, teacher, &settings);
            let wanted: Vec<_> = wanted
                .map(|part| ("p.predict".to_owned(), part))
                .into_iter()
                .collect();
            assert_eq!(found, wanted, "{teacher:?}");
        }
    }
}
