//! `[lm.NAME.finetune]`: who fine-tunes an LM, and how.

use super::lm::{api_base, key_variable, open_arguments};
use crate::finetune::{
    CommandSpec, DataPart, ExportSpec, FireworksSpec, ProviderSpec, RowFormat, ServiceSpec, file_name,
};
use crate::lm::LmSettings;
use crate::schema::Problems;
use crate::schema::{Item, Section, nearest};
use serde_json::{Map, Value as Json};
use std::iter;

/// How one LM is fine-tuned.
#[derive(Clone, Debug, PartialEq)]
pub struct FinetuneSpec {
    /// Who trains.
    pub provider: ProviderSpec,
    /// The model that is trained, where it is not the LM's own: DSPy's `finetuning_model`.
    pub model: Option<String>,
    /// DSPy's `train_kwargs`, passed to the provider.
    pub train: Map<String, Json>,
    /// The part of the examples (0..1) whose rows are kept back to measure with.
    pub validation_fraction: f64,
}

impl FinetuneSpec {
    /// In which formats beside `messages` the rows are wanted: what the job names, and what the ready configuration for TRL reads.
    pub fn formats(&self) -> Vec<RowFormat> {
        let ProviderSpec::Export(export) = &self.provider else {
            return Vec::new();
        };
        let mut formats = export.formats.clone();
        if !formats.contains(&RowFormat::PromptCompletion) {
            formats.push(RowFormat::PromptCompletion);
        }
        formats
    }

    /// The files of rows that a key of the LM may get.
    pub fn row_files(&self, key: &str) -> Vec<String> {
        let parts = match self.validation_fraction > 0.0 {
            true => &[DataPart::Training, DataPart::Validation][..],
            false => &[DataPart::Training][..],
        };
        let formats: Vec<Option<RowFormat>> = iter::once(None)
            .chain(self.formats().into_iter().map(Some))
            .collect();
        let of_part = |part: &DataPart| {
            formats
                .iter()
                .map(|format| file_name(key, *part, *format))
                .collect::<Vec<_>>()
        };
        parts.iter().flat_map(of_part).collect()
    }
}

/// The most that may be kept back.
const MOST_VALIDATION: f64 = 0.9;

/// OpenAI's limit of a suffix, which the others keep to.
const LONGEST_SUFFIX: usize = 64;

const PROVIDERS: [&str; 6] = [
    "export",
    "simulated",
    "command",
    "openai",
    "together",
    "fireworks",
];

/// Keys that every provider takes.
const SHARED: [&str; 4] = ["provider", "model", "train", "validation_fraction"];
const SERVICE: [&str; 5] = ["api_base", "api_key_env", "auth_header", "suffix", "extra"];

fn own_keys(provider: &str) -> Vec<&'static str> {
    match provider {
        "export" => vec!["formats"],
        "command" => vec!["trainer"],
        "openai" | "together" => SERVICE.to_vec(),
        "fireworks" => [&SERVICE[..], &["account"]].concat(),
        _ => Vec::new(),
    }
}

/// `lm` is the LM that the table belongs to, where that could be read.
pub(super) fn read(
    item: &Item<'_>,
    lm: Option<&LmSettings>,
    problems: &mut Problems,
) -> Option<FinetuneSpec> {
    let section = item.section(problems)?;
    let name = section.need("provider", "\"export\"", problems)?;
    let provider = name.word(problems)?;
    if !PROVIDERS.contains(&provider) {
        let message = format!("there is no fine-tune provider `{provider}`");
        name.place
            .report(problems, message, nearest(provider, PROVIDERS.into_iter()));
        return None;
    }
    let known = [&SHARED[..], &own_keys(provider)].concat();
    let others = of_others(&section, provider, &known, problems);
    section.only(&[&known[..], &others].concat(), problems);
    let train = section.get("train").map(|item| open_arguments(&item, problems));
    let model = section
        .get("model")
        .and_then(|item| Some(item.word(problems)?.to_owned()));
    let validation = section
        .get("validation_fraction")
        .and_then(|item| item.number(0.0, MOST_VALIDATION, problems));
    let provider = match provider {
        "export" => ProviderSpec::Export(ExportSpec {
            formats: section
                .get("formats")
                .map(|item| formats(&item, problems))
                .unwrap_or_default(),
        }),
        "command" => ProviderSpec::Command(CommandSpec {
            trainer: section
                .need("trainer", "\"trl\"", problems)?
                .word(problems)?
                .to_owned(),
        }),
        "openai" => ProviderSpec::Openai(beside(service(&section, problems), lm)),
        "together" => ProviderSpec::Together(service(&section, problems)),
        "fireworks" => ProviderSpec::Fireworks(FireworksSpec {
            account: section
                .need("account", "\"my-account\"", problems)?
                .word(problems)?
                .to_owned(),
            service: service(&section, problems),
        }),
        _ => ProviderSpec::Simulated,
    };
    fits(&section, train.as_ref(), &provider, problems);
    Some(FinetuneSpec {
        provider,
        model,
        train: train.unwrap_or_default(),
        validation_fraction: validation.unwrap_or(0.0),
    })
}

/// Each key of `train` is one that whoever trains knows, with a value that can be.
fn fits(
    section: &Section<'_>,
    train: Option<&Map<String, Json>>,
    provider: &ProviderSpec,
    problems: &mut Problems,
) {
    let table = section
        .get("train")
        .and_then(|item| item.section(&mut Problems::default()));
    for (key, item) in table.iter().flat_map(Section::items) {
        let value = train.and_then(|train| train.get(key));
        if let Some(why) = value.and_then(|value| provider.unfit_train(key, value)) {
            item.place.report(problems, why, "change it or leave it out");
        }
    }
}

/// The keys of the table that only other providers take; each is a problem.
fn of_others<'a>(
    section: &Section<'a>,
    provider: &str,
    known: &[&str],
    problems: &mut Problems,
) -> Vec<&'a str> {
    let mut others = Vec::new();
    for (key, item) in section.items().filter(|(key, _)| !known.contains(key)) {
        let takers: Vec<&str> = PROVIDERS
            .into_iter()
            .filter(|other| own_keys(other).contains(&key))
            .collect();
        if takers.is_empty() {
            continue;
        }
        others.push(key);
        let message = format!("the provider `{provider}` takes no `{key}`");
        let remedy = format!("leave it out; it is for {}", takers.join(", "));
        item.place.report(problems, message, remedy);
    }
    others
}

fn formats(item: &Item<'_>, problems: &mut Problems) -> Vec<RowFormat> {
    let items = item.list(problems).unwrap_or_default();
    let mut formats = Vec::new();
    for item in items {
        let Some(name) = item.word(problems) else { continue };
        match RowFormat::ALL.into_iter().find(|format| format.name() == name) {
            Some(format) if formats.contains(&format) => {}
            Some(format) => formats.push(format),
            None => {
                let message = format!("`{}` names no format of rows: `{name}`", item.name);
                let names = RowFormat::ALL.map(RowFormat::name);
                item.place
                    .report(problems, message, nearest(name, names.into_iter()));
            }
        }
    }
    formats
}

fn service(section: &Section<'_>, problems: &mut Problems) -> ServiceSpec {
    let suffix = section
        .get("suffix")
        .and_then(|item| Some((item.word(problems)?, item)));
    if let Some((suffix, item)) = &suffix
        && suffix.chars().count() > LONGEST_SUFFIX
    {
        let message = format!("`{}` is longer than {LONGEST_SUFFIX} characters", item.name);
        item.place.report(problems, message, "shorten it");
    }
    ServiceSpec {
        api_base: section.get("api_base").and_then(|item| api_base(&item, problems)),
        api_key_env: section
            .get("api_key_env")
            .and_then(|item| key_variable(&item, problems)),
        auth_header: section
            .get("auth_header")
            .and_then(|item| header(&item, problems)),
        suffix: suffix.map(|(suffix, _)| suffix.to_owned()),
        extra: section
            .get("extra")
            .map(|item| open_arguments(&item, problems))
            .unwrap_or_default(),
    }
}

fn header(item: &Item<'_>, problems: &mut Problems) -> Option<String> {
    let name = item.word(problems)?;
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Some(name.to_ascii_lowercase());
    }
    let message = format!("`{}` is not the name of a header", item.name);
    item.place.report(
        problems,
        message,
        "write `auth_header = \"api-key\"`, or leave it out",
    );
    None
}

/// An LM of a private server is fine-tuned there, unless the table says where.
fn beside(service: ServiceSpec, lm: Option<&LmSettings>) -> ServiceSpec {
    match lm {
        Some(lm) if service.api_base.is_none() => ServiceSpec {
            api_base: lm.api_base.clone(),
            api_key_env: service.api_key_env.or_else(|| lm.api_key_env.clone()),
            ..service
        },
        _ => service,
    }
}
