//! Warnings of a valid job: what is allowed but probably a mistake.

use super::Job;
use super::access::address_warning;
use super::lm::Lms;
use crate::dataset::trainer_configs::TrainerArguments;
use crate::finetune::ProviderSpec;
use crate::key_ring::is_unencrypted;
use crate::program::{ProgramSpec, PromptPart, prompt_differences};
use crate::spec::JobSpec;
use url::Url;

/// LMs that no predictor uses, and a missing metric.
pub(super) fn of_names(
    lms: &Lms,
    student: &ProgramSpec,
    teachers: &[ProgramSpec],
    unfiltered: bool,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if unfiltered {
        warnings.push("there is no [metric]: every trace is kept, right or wrong".to_owned());
    }
    let used: Vec<&str> = teachers
        .iter()
        .chain([student])
        .flat_map(|p| &p.predictors)
        .map(|p| p.lm.as_str())
        .collect();
    for name in lms.settings.keys().filter(|name| !used.contains(&name.as_str())) {
        warnings.push(format!("no predictor uses [lm.{name}]"));
    }
    warnings
}

/// Addresses of LMs that are probably not meant.
pub(super) fn of_addresses(lms: &Lms) -> Vec<String> {
    let mut warnings = Vec::new();
    for lm in lms.settings.values() {
        for endpoint in lm.endpoints() {
            let address = endpoint.api_base.as_deref();
            if let Some((address, why)) = address.and_then(|base| Some((base, address_warning(base)?))) {
                warnings.push(format!("[lm.{}]: `api_base = \"{address}\"`: {why}", lm.name));
            }
        }
    }
    warnings
}

/// Keys of `train` that no configuration of `export` contains, and models whose chat template refuses the rows.
pub(super) fn of_trainings(job: &Job) -> Vec<String> {
    let mut warnings = Vec::new();
    let trained = |lm: &str| {
        job.spec
            .student
            .predictors
            .iter()
            .any(|predictor| predictor.lm == lm)
    };
    for (lm, finetune) in &job.finetune {
        if matches!(finetune.provider, ProviderSpec::Export(_)) {
            let left_out = TrainerArguments::from_train(&finetune.train).left_out;
            warnings.extend(left_out.into_iter().map(|key| {
                format!(
                    "[lm.{lm}.finetune]: the configurations that `export` writes have no place for `train.{key}`"
                )
            }));
        }
        let own = job.spec.lms.get(lm).map(|settings| &settings.model);
        let model = finetune.model.as_ref().or(own);
        if let Some(model) = model.filter(|model| trained(lm) && finetune.refuses_system_messages(model)) {
            warnings.push(format!(
                "[lm.{lm}.finetune]: the chat template of {model} is known to refuse system messages, and every row begins with one: \
                 give the trainer another template, or train another model"
            ));
        }
    }
    warnings
}

/// Keys that go to other machines without encryption.
pub(super) fn of_unencrypted_keys(job: &Job) -> Vec<String> {
    let of_lms = job.spec.lms.iter().flat_map(|(name, settings)| {
        let endpoints = settings.endpoints().into_iter();
        endpoints.filter_map(move |endpoint| {
            let key = endpoint.key_variable()?.to_owned();
            Some((format!("[lm.{name}]"), key, endpoint.api_base?))
        })
    });
    let of_services = job.finetune.iter().filter_map(|(name, finetune)| {
        let service = match &finetune.provider {
            ProviderSpec::Openai(service) | ProviderSpec::Together(service) => service,
            ProviderSpec::Fireworks(fireworks) => &fireworks.service,
            ProviderSpec::Export(_) | ProviderSpec::Simulated | ProviderSpec::Command(_) => return None,
        };
        let (key, address) = (service.api_key_env.clone()?, service.api_base.clone()?);
        Some((format!("[lm.{name}.finetune]"), key, address))
    });
    let mut warnings: Vec<String> = of_lms
        .chain(of_services)
        .filter(|(_, _, address)| Url::parse(address).is_ok_and(|url| is_unencrypted(&url)))
        .map(|(place, key, address)| {
            format!("{place}: the key in {key} goes to {address} without encryption; use https if the server has it")
        })
        .collect();
    warnings.dedup();
    warnings
}

/// Teachers whose prompts are not the student's. The rows have the teacher's, as in DSPy.
pub(super) fn of_teachers(spec: &JobSpec) -> Vec<String> {
    let mut warnings = Vec::new();
    for (at, teacher) in spec.teachers.iter().enumerate() {
        let differences = prompt_differences(&spec.student, teacher, &spec.program_settings());
        for (part, words, key) in [
            (PromptPart::Instructions, "other instructions", "instructions"),
            (
                PromptPart::Fields,
                "other field descriptions or types",
                "signature` and `desc",
            ),
        ] {
            let names = differences.iter().filter(|(_, differs)| *differs == part);
            let names: Vec<String> = names.map(|(name, _)| format!("`{name}`")).collect();
            if names.is_empty() {
                continue;
            }
            warnings.push(format!(
                "teacher {} has {words} than the student ({}): the rows contain the teacher's, so the compiled student is asked what it \
                 was not trained on. Write the same `{key}` for both, or give [student] the `state` of the teacher",
                at + 1,
                names.join(", ")
            ));
        }
    }
    warnings
}
